"""`check_device`: the match of a profile with this machine by a stated policy, and the wider intervals that follow."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from intaglio.energy.profile.energy_profile import EnergyProfile
from intaglio.energy.profile.fingerprint import MODES, Fingerprint, differences
from intaglio.energy.step_estimate import StepEstimate
from intaglio.errors import BadInput

DevicePolicy = Literal["strict", "warn", "model-only"]
OTHER_VARIANCE = 2.0
"""Factor of the variance of estimates by the profile of another device or regime."""
UNIT_SD = 0.05
"""Relative standard deviation between units of one model."""
MODEL = ("kind", "model")
"""Facts of a device that all units of one model share."""


@dataclass(frozen=True)
class DeviceMatch:
    """Differences between the machine of a profile and this one, and their price."""

    differences: tuple[str, ...] = ()
    """Facts that differ, in words."""
    variance_factor: float = 1.0
    """Factor of the variance of estimates, 1 or more."""
    unit_sd: float = 0.0
    """Relative standard deviation that is added for another unit of the same model."""
    origin: str = ""
    """A sentence on where the profile comes from, where that is to be said."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence on the origin, and one on the differences; none where there is nothing to say."""
        return tuple(one for one in (self.origin, self._price()) if one)

    def _price(self) -> str:
        price = f"variance x {self.variance_factor:g}" if self.variance_factor > 1 else ""
        price = f"{self.unit_sd:.0%} further sd for another unit" if self.unit_sd else price
        if not price:
            return ""
        return f"the profile is of another machine or session ({price}): {'; '.join(self.differences)}"

    def widened(self, estimate: StepEstimate) -> StepEstimate:
        """The estimate with its interval made wider, and the warnings: Var = factor · Var + (unit_sd · amount)²."""
        sd = math.hypot(math.sqrt(self.variance_factor) * estimate.sd, self.unit_sd * estimate.amount)
        return replace(estimate, sd=sd, warnings=(*estimate.warnings, *self.warnings))


def check_device(profile: EnergyProfile, here: Fingerprint, policy: DevicePolicy = "strict") -> DeviceMatch:
    """Compares the machine and the regime of a profile with those here.

    Args:
        profile: of any machine.
        here: the machine and session that is to be estimated for.
        policy: `strict` takes a profile of an equal device and regime only; `warn` takes any, with twice the variance
            where something differs; `model-only` takes one of the same model in the same modes of computation, and
            adds 5% for the spread between units, while memory, power limit, driver and versions may differ.

    Raises:
        BadInput: the policy does not take the profile.
    """
    found = differences(Fingerprint(profile.device, profile.regime), here)
    if policy == "model-only":
        barred = [words for name, words in found.items() if name in (*MODEL, *MODES)]
        if barred or not profile.device.get("model"):
            raise BadInput(_refusal("another model or mode", barred or ["the profile names no model"], "warn"))
        return DeviceMatch(tuple(found.values()) or ("another unit, as it was said",), unit_sd=UNIT_SD)
    if not found:
        return DeviceMatch()
    if policy == "strict":
        raise BadInput(
            _refusal("another machine or session", list(found.values()), "warn, or model-only for another unit")
        )
    return DeviceMatch(tuple(found.values()), variance_factor=OTHER_VARIANCE)


def _refusal(what: str, differences: list[str], policy: str) -> str:
    return (
        f"the profile is of {what} ({'; '.join(differences)}); profile this one with intaglio energy profile, or take "
        f"it all the same by the policy {policy}"
    )
