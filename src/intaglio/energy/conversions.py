"""Joules as kilowatt-hours, a share of a battery, grams of CO2e and money; and amounts with units as joules.

No rate is guessed: carbon wants an intensity, money a price, a share a battery; without one the amount is None, and
the reason is given. The power usage effectiveness (PUE) of a data centre is 1 unless it is stated, and is always shown.
"""

import math
import re
from dataclasses import dataclass, field

from intaglio.amounts import energy_words
from intaglio.errors import BadInput, require

JOULES_PER_WH = 3600.0
JOULES_PER_KWH = 3.6e6
ENERGY_UNITS = {"J": 1.0, "kJ": 1e3, "MJ": 1e6, "GJ": 1e9, "Wh": 3.6e3, "kWh": 3.6e6, "MWh": 3.6e9}
"""Joules of each unit. `MJ` is written so: `mJ` would be a thousandth."""
GRAM_UNITS = {"g": 1.0, "kg": 1e3, "t": 1e6}
AMOUNT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s.,].*?)?\s*")
CARBON = re.compile(r"(.*?)\s*(?:CO2e?|CO₂e?)")
CURRENCY = re.compile(r"[^\W\d_]{1,8}|[^\w\s%.,+-]")
"""A word of up to eight letters, or one sign."""


@dataclass(frozen=True, kw_only=True)
class Battery:
    """A battery by its label, and how much of that it still holds."""

    volts: float
    """Nominal voltage in V, above 0."""
    amp_hours: float
    """Nominal charge in Ah, above 0."""
    health: float = 1.0
    """Share of the nominal charge that it still holds, in (0, 1]."""

    def __post_init__(self) -> None:
        for name in ("volts", "amp_hours"):
            _check(name, getattr(self, name), above=0.0)
        require(0 < self.health <= 1, f"health must lie in (0, 1], not {self.health}")

    @property
    def watt_hours(self) -> float:
        """Usable energy in Wh: volts · amp_hours · health."""
        return self.volts * self.amp_hours * self.health

    @property
    def joules(self) -> float:
        """Usable energy in J."""
        return self.watt_hours * JOULES_PER_WH


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates that joules are converted by; what is None is not converted."""

    grams_per_kwh: float | None = None
    """Carbon intensity of the electricity, in g CO2e a kWh, at least 0; for a place and a time, so without a
    default."""
    price_per_kwh: float | None = None
    """Price of the electricity, in `currency` a kWh, at least 0."""
    currency: str = ""
    """Word or sign of the price's unit, such as EUR; needed with a price."""
    battery: Battery | None = None
    pue: float = 1.0
    """Power usage effectiveness, at least 1: energy of the building over that of the machine. Carbon and money hold
    it, kilowatt-hours and the battery do not."""

    def __post_init__(self) -> None:
        for name in ("grams_per_kwh", "price_per_kwh"):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name))
        require(1 <= self.pue < math.inf, f"pue must be at least 1, not {self.pue}")
        require(
            (self.price_per_kwh is None) == (not self.currency),
            "price_per_kwh and currency go together: give both, or none",
        )
        taken = {*ENERGY_UNITS, *GRAM_UNITS}
        fits = not self.currency or (CURRENCY.fullmatch(self.currency) and self.currency not in taken)
        require(
            bool(fits), f"currency must be a word or sign that is no other unit, such as EUR, not {self.currency!r}"
        )


@dataclass(frozen=True)
class Converted:
    """An energy in other units; None where its rate is not known."""

    joules: float
    kwh: float
    battery_share: float | None
    """Share of the usable charge; 1 is all of it."""
    grams: float | None
    """g CO2e, with the PUE."""
    money: float | None
    """In `currency`, with the PUE."""
    currency: str
    pue: float
    why_not: dict[str, str] = field(default_factory=dict)
    """Reason for each amount that is None, by its name."""

    def rows(self) -> list[tuple[str, str]]:
        """Names and amounts as words, for people; missing ones with the reason."""
        found = [("energy", f"{energy_words(self.joules)}, {self.kwh:.3g} kWh")]
        share = self.battery_share
        found.append(("battery", self.why_not["battery_share"] if share is None else f"{share:.1%} of its charge"))
        found.append(("carbon", self.why_not["grams"] if self.grams is None else f"{self.grams:.3g} g CO2e"))
        found.append(("cost", self.why_not["money"] if self.money is None else f"{self.money:.3g} {self.currency}"))
        found.append(("PUE", f"{self.pue:g}, in carbon and cost"))
        return found


def convert(joules: float, rates: Rates = Rates()) -> Converted:
    """An energy by the given rates.

    kWh = J / 3.6e6; battery share = J / (3600 · V · Ah · health); g = kWh · PUE · intensity; money = kWh · PUE · price.

    Args:
        joules: finite and at least 0.
        rates: what is known of the electricity and the battery.

    Raises:
        ValueError: an energy below 0, or not finite.
    """
    _check("joules", joules)
    kwh, battery = joules / JOULES_PER_KWH, rates.battery
    why_not = {}
    if battery is None:
        why_not["battery_share"] = "not known: state the battery's volts and amp-hours"
    if rates.grams_per_kwh is None:
        why_not["grams"] = "not known: state the grams of CO2e a kWh of your electricity, for its place and time"
    if rates.price_per_kwh is None:
        why_not["money"] = "not known: state a price a kWh, and its currency"
    return Converted(
        joules,
        kwh,
        None if battery is None else joules / battery.joules,
        None if rates.grams_per_kwh is None else kwh * rates.pue * rates.grams_per_kwh,
        None if rates.price_per_kwh is None else kwh * rates.pue * rates.price_per_kwh,
        rates.currency,
        rates.pue,
        why_not,
    )


def parse_joules(text: str, rates: Rates = Rates()) -> float:
    """The joules of an amount with its unit: `0.5 kWh`, `20 kJ`, `10 %` of a battery, `50 g` of CO2e, `0.3 EUR`.

    Raises `BadInput` for what is no number above 0 with a known unit, and where the rate that the unit wants is missing
    or 0.
    """
    found = AMOUNT.fullmatch(text)
    if found is None or not found[2]:
        raise BadInput(f"{text!r} is no amount with a unit; give one such as {_examples(rates)}")
    number, unit = float(found[1]), found[2]
    if not 0 < number < math.inf:
        raise BadInput(f"{text!r} must be above 0 and finite; give an amount such as 0.5 kWh")
    joules = number * _joules_per(unit, text, rates)
    if not 0 < joules < math.inf:
        raise BadInput(f"{text!r} is beyond every energy; give an amount such as 0.5 kWh")
    return joules


def _joules_per(unit: str, text: str, rates: Rates) -> float:
    if (energy := _energy_unit(unit)) is not None:
        return energy
    if unit == "%":
        if rates.battery is None:
            raise BadInput(f"{text!r} is a share of a battery, which is not known; state its volts and amp-hours")
        return rates.battery.joules / 100
    carbon = CARBON.fullmatch(unit)
    if (mass := carbon[1] if carbon else unit) in GRAM_UNITS:
        return GRAM_UNITS[mass] * _joules_of(rates.grams_per_kwh, text, "an amount of CO2e", "grams a kWh", rates)
    if rates.currency and unit == rates.currency:
        return _joules_of(rates.price_per_kwh, text, "a cost", "price a kWh", rates)
    raise BadInput(f"{text!r} has no unit that is known here; give an amount such as {_examples(rates)}")


def _energy_unit(unit: str) -> float | None:
    """Joules of a unit; capitals count only where they tell units apart (MJ, mJ; MWh, mWh)."""
    if unit[0] in "mM":
        return ENERGY_UNITS.get(unit)
    return next((joules for name, joules in ENERGY_UNITS.items() if name.lower() == unit.lower()), None)


def _joules_of(rate: float | None, text: str, what: str, rate_words: str, rates: Rates) -> float:
    """Joules of one unit of what comes at a rate a kWh, with the PUE."""
    if not rate:
        state = "is not known" if rate is None else "is 0, so that no energy reaches it"
        raise BadInput(f"{text!r} is {what}, and the {rate_words} {state}; state it, or give joules or kWh")
    return JOULES_PER_KWH / (rate * rates.pue)


def _examples(rates: Rates) -> str:
    known = ["0.5 kWh", "20 kJ"]
    known += ["10 %"] if rates.battery is not None else []
    known += ["50 g"] if rates.grams_per_kwh else []
    known += [f"0.3 {rates.currency}"] if rates.price_per_kwh else []
    return ", ".join(known)


def _check(name: str, value: float, above: float | None = None) -> None:
    fits = math.isfinite(value) and (value > above if above is not None else value >= 0)
    require(fits, f"{name} must be finite and {'above 0' if above is not None else 'at least 0'}, not {value}")
