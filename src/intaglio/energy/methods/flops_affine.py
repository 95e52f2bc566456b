"""A cost affine in floating-point operations, fitted on measured networks."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.energy.family import EnergyEstimator, Predictor
from intaglio.energy.network_fit import NetworkFit
from intaglio.energy.profile.energy_profile import EnergyProfile


@dataclass(frozen=True)
class FlopsAffine(EnergyEstimator):
    """FLOPs-affine: a constant and a rate of operations, fitted on measured networks."""

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    wants: ClassVar[tuple[str, ...]] = ("networks",)

    def __call__(self, profile: EnergyProfile) -> Predictor:
        """Raises `BadInput` where fewer than two networks were measured."""
        return NetworkFit.affine(profile, lambda step: step.flops)
