"""`check_device`: the match of a profile with this machine by a stated policy, and the wider intervals that follow."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from intaglio.energy.profile.energy_profile import EnergyProfile
from intaglio.energy.profile.fingerprint import MODES, Fingerprint
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

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence on the differences; none where there are none."""
        price = f"variance x {self.variance_factor:g}" if self.variance_factor > 1 else ""
        price = f"{self.unit_sd:.0%} further sd for another unit" if self.unit_sd else price
        if not price:
            return ()
        return (f"the profile is of another machine or session ({price}): {'; '.join(self.differences)}",)

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
    device = _differences(profile.device, here.device)
    regime = _differences(profile.regime, here.regime)
    found = (*device.values(), *regime.values())
    if policy == "model-only":
        barred = [words for name, words in (*device.items(), *regime.items()) if name in (*MODEL, *MODES)]
        if barred or not profile.device.get("model"):
            raise BadInput(_refusal("another model or mode", barred or ["the profile names no model"], "warn"))
        return DeviceMatch(found or ("another unit, as it was said",), unit_sd=UNIT_SD)
    if not found:
        return DeviceMatch()
    if policy == "strict":
        raise BadInput(_refusal("another machine or session", list(found), "warn, or model-only for another unit"))
    return DeviceMatch(found, variance_factor=OTHER_VARIANCE)


def _refusal(what: str, differences: list[str], policy: str) -> str:
    return (
        f"the profile is of {what} ({'; '.join(differences)}); profile this one with intaglio energy profile, or take "
        f"it all the same by the policy {policy}"
    )


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, str]:
    """Facts that differ by name, each in words; one that only one side has differs too."""
    names = [*there, *(name for name in here if name not in there)]
    return {
        name: f"{name.replace('_', ' ')} {_word(there.get(name))} there, {_word(here.get(name))} here"
        for name in names
        if _plain(there.get(name)) != _plain(here.get(name))
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _word(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "on" if value else "off"
    return " and ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
