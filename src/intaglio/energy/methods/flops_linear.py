"""A cost proportional to floating-point operations, through one measured network."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.energy.family import EnergyEstimator, Predictor
from intaglio.energy.network_fit import NetworkFit
from intaglio.energy.profile.energy_profile import EnergyProfile


@dataclass(frozen=True)
class FlopsLinear(EnergyEstimator):
    """FLOPs-linear: operations times one rate, the median of measured networks.

    The usual estimate before a run. Its spread is that of the rates over the measured networks.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    wants: ClassVar[tuple[str, ...]] = ("networks",)

    def __call__(self, profile: EnergyProfile) -> Predictor:
        """Raises `BadInput` where no network was measured."""
        return NetworkFit.through_one(profile, lambda step: step.flops)
