"""Energy of an Android device between two dumps: by the charge of its battery, or by its own table of powers.

The dumps are texts, of `dumpsys battery` and of `dumpsys batterystats --checkin`; how they leave the device is not a
matter of this module.
"""

import re
from dataclasses import dataclass

from intaglio.errors import BadInput, require
from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.meter import MeterFailed, WindowTooShort
from intaglio.meters.spent import Spent

BATTERY, MODEL = "battery", "battery-model"
CHARGING, FULL = 2, 5
"""Codes of `status` while current flows into the battery, or the device is fed past it."""
LEAST_VOLTS, MOST_VOLTS = 1.0, 100.0
"""Voltages that a battery of one or more cells can have; what lies outside is a slip of units."""
COULOMBS_PER_AMPERE_HOUR = 3600.0


@dataclass(frozen=True)
class BatteryState:
    """The battery at one moment."""

    charge_ah: float
    """Charge that is left, in Ah."""
    volts: float
    fed: bool
    """Whether the device was charged or fed from outside."""


def battery_state(text: str) -> BatteryState:
    """The state in a dump of `dumpsys battery`: charge counter in µAh, voltage in mV.

    Raises `BadInput` where the dump has no charge counter, as on devices whose gauge does not count.
    """
    microampere_hours = _number(text, "Charge counter")
    volts = _number(text, "voltage") * 1e-3
    if microampere_hours <= 0:
        raise BadInput(f"the battery's charge counter stands at {microampere_hours:g} µAh; this device does not count")
    if not LEAST_VOLTS <= volts <= MOST_VOLTS:
        raise BadInput(f"the battery's voltage must be in mV, and {1000 * volts:g} mV is none that a battery has")
    powered = re.search(r"^\s*(?:AC|USB|Wireless|Dock) powered:\s*true\s*$", text, re.MULTILINE | re.IGNORECASE)
    status = re.search(r"^\s*status:\s*(\d+)", text, re.MULTILINE)
    fed = powered is not None or (status is not None and int(status.group(1)) in (CHARGING, FULL))
    return BatteryState(microampere_hours * 1e-6, volts, fed)


def spent_of_battery(before: str, after: str, seconds: float) -> Spent:
    """Joules between two dumps of `dumpsys battery`, `seconds` apart: the fall of charge times the mean voltage.

    Everything that the device did counts, so screen and radios should stay as they are, and repeated windows should
    begin at equal charge. Raises `BadInput` where a dump was made while the device was fed, `MeterFailed` where the
    charge rose, and `WindowTooShort` where the gauge did not move.
    """
    require(0 < seconds < float("inf"), f"seconds must be a time above 0 s, not {seconds}")
    first, last = battery_state(before), battery_state(after)
    if first.fed or last.fed:
        raise BadInput("the device was charging, and its battery tells nothing then; unplug it, and measure again")
    fall_ah = first.charge_ah - last.charge_ah
    if fall_ah < 0:
        raise MeterFailed("the battery's charge rose between the dumps; leave the device unplugged between them")
    if fall_ah == 0:
        raise WindowTooShort(f"the battery's gauge did not move in {seconds:g} s; repeat the work within the window")
    joules = fall_ah * COULOMBS_PER_AMPERE_HOUR * 0.5 * (first.volts + last.volts)
    return _spent(seconds, joules, Domain(BATTERY, Scope.BATTERY, Provenance.SAMPLED, "android-battery"))


def spent_of_statistics(before: str, after: str, seconds: float, volts: float) -> Spent:
    """Joules between two dumps of `dumpsys batterystats --checkin`, `seconds` apart, by the vendor's table of powers.

    Android multiplies the time in each state by a power that its vendor states, and measures no current: the figure is
    modelled. The dump tells mAh, which `volts`, the battery's nominal voltage, makes joules. Raises `BadInput` where a
    dump has no summary of power, and `MeterFailed` where the statistics were reset in between, as when it was charged.
    """
    require(0 < seconds < float("inf"), f"seconds must be a time above 0 s, not {seconds}")
    require(LEAST_VOLTS <= volts <= MOST_VOLTS, f"volts must be a battery's voltage in V, not {volts}")
    used_ah = 1e-3 * (_computed_mah(after) - _computed_mah(before))
    if used_ah < 0:
        raise MeterFailed("the battery's statistics were reset between the dumps; leave the device unplugged")
    if used_ah == 0:
        raise WindowTooShort(f"the battery's statistics did not move in {seconds:g} s; repeat the work")
    joules = used_ah * COULOMBS_PER_AMPERE_HOUR * volts
    return _spent(seconds, joules, Domain(MODEL, Scope.BATTERY, Provenance.MODELLED, "android-statistics"))


def _spent(seconds: float, joules: float, domain: Domain) -> Spent:
    return Spent(float(seconds), {domain.name: joules}, {domain.name: domain})


def _number(text: str, name: str) -> float:
    """The number behind a name on a line of its own. Raises `BadInput`."""
    found = re.search(rf"^\s*{name}:\s*(-?\d{{1,15}})\b", text, re.MULTILINE)
    if found is None:
        raise BadInput(f"the dump has no line {name!r} with a number; give the text of `dumpsys battery`")
    return float(found.group(1))


def _computed_mah(text: str) -> float:
    """The computed use since the last charge in mAh: the second figure of the record `pws`. Raises `BadInput`."""
    found = re.search(r"^\d+,\d+,l,pws,[^,\n]*,(\d{1,12}(?:\.\d{1,12})?)", text, re.MULTILINE)
    if found is None:
        raise BadInput("the dump has no record pws; give the text of `dumpsys batterystats --checkin`")
    return float(found.group(1))
