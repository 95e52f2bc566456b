"""A cost affine in the number of weights, fitted on measured networks."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.energy.family import EnergyEstimator, Predictor
from intaglio.energy.network_fit import NetworkFit
from intaglio.energy.profile.energy_profile import EnergyProfile


@dataclass(frozen=True)
class ParametersAffine(EnergyEstimator):
    """Parameter-affine: a constant and a rate of weights, fitted on measured networks."""

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    wants: ClassVar[tuple[str, ...]] = ("networks",)

    def __call__(self, profile: EnergyProfile) -> Predictor:
        """Raises `BadInput` where fewer than two networks were measured."""
        return NetworkFit.affine(profile, lambda step: float(step.parameters))
