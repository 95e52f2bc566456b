"""`NetworkFit`: a cost affine in one count of a network, by least squares over measured networks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from intaglio.energy.layers.layer import Step
from intaglio.energy.profile.energy_profile import CalibrationNetwork, EnergyProfile
from intaglio.energy.step_estimate import StepEstimate
from intaglio.errors import BadInput

Count = Callable[[Step], float]


@dataclass(frozen=True, eq=False)
class NetworkFit:
    """amount = constant + rate · count, with the spread of the fit."""

    constant: float
    rate: float
    relative_sd: float
    count: Count
    profile: EnergyProfile

    def __call__(self, step: Step) -> StepEstimate:
        amount = max(self.constant + self.rate * self.count(step), 0.0)
        sd = self.relative_sd * amount
        return StepEstimate(amount, sd, float("nan"), self.profile.unit, self.profile.provenance)

    @classmethod
    def through_one(cls, profile: EnergyProfile, count: Count) -> "NetworkFit":
        """The median rate of the measured networks, which is that of one of them, without a constant."""
        rates = np.sort([one.amount / count(one.step) for one in _measured(profile, 1)])
        rate = float(rates[len(rates) // 2])
        spread = float(rates.std(ddof=1)) / rate if len(rates) > 1 else np.inf
        return cls(0.0, rate, spread, count, profile)

    @classmethod
    def affine(cls, profile: EnergyProfile, count: Count, of: Literal["amount", "seconds"] = "amount") -> "NetworkFit":
        """Least squares over all measured networks."""
        networks = _measured(profile, 2)
        x = np.array([count(one.step) for one in networks], np.float64)
        y = np.array([getattr(one, of) for one in networks])
        rate, constant = np.polyfit(x / x.max(), y, 1) if np.ptp(x) > 0 else (0.0, y.mean())
        off = y - (constant + rate * x / x.max())
        free = max(1, len(y) - 2)
        return cls(
            float(constant), float(rate / x.max()), float(np.sqrt((off**2).sum() / free) / y.mean()), count, profile
        )


def _measured(profile: EnergyProfile, fewest: int) -> tuple[CalibrationNetwork, ...]:
    if len(profile.calibration) < fewest:
        raise BadInput(f"{fewest} measured networks or more are due, and the profile has {len(profile.calibration)}")
    return profile.calibration
