"""Predicted time times one mean power."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from intaglio.energy.family import EnergyEstimator, Predictor
from intaglio.energy.layers.layer import Step
from intaglio.energy.network_fit import NetworkFit
from intaglio.energy.profile.energy_profile import EnergyProfile
from intaglio.energy.step_estimate import StepEstimate
from intaglio.errors import BadInput


@dataclass(frozen=True)
class MeanPower(EnergyEstimator):
    """Time × mean power: seconds affine in operations, times one mean power.

    Both are learnt from the measured networks.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    wants: ClassVar[tuple[str, ...]] = ("networks",)

    def __call__(self, profile: EnergyProfile) -> Predictor:
        """Raises `BadInput` where fewer than two networks were measured."""
        seconds = NetworkFit.affine(profile, lambda step: step.flops, of="seconds")
        powers = _powers(profile)
        power, spread = float(np.mean(powers)), float(np.std(powers, ddof=1))

        def predict(step: Step) -> StepEstimate:
            found = seconds(step)
            sd = found.amount * power * np.hypot(found.sd / max(found.amount, 1e-30), spread / power)
            return StepEstimate(found.amount * power, float(sd), found.amount, profile.unit, profile.provenance)

        return predict


def _powers(profile: EnergyProfile) -> Sequence[float]:
    powers = [one.amount / one.seconds for one in profile.calibration if one.seconds > 0]
    if len(powers) < 2:
        raise BadInput("time times mean power wants two measured networks or more")
    return powers
