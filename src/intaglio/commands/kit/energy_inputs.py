"""Inputs of commands that turn joules into other units: rates of the electricity, and a battery."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from intaglio.errors import require

if TYPE_CHECKING:
    from intaglio.energy.conversions import Rates


@dataclass(frozen=True, kw_only=True)
class EnergyRates:
    """A command that knows what its electricity costs; no rate has a hidden default."""

    grams_per_kwh: float | None = None
    """Carbon intensity of the electricity here and now, in g CO2e a kWh, at least 0."""
    price: float | None = None
    """Price of a kWh, in --currency, at least 0."""
    currency: str = ""
    """Word or sign of the price's unit, such as EUR."""
    battery: tuple[float, float] | None = None
    """Nominal volts and amp-hours of a battery, each above 0."""
    battery_health: float = 1.0
    """Share of its nominal charge that the battery still holds, in (0, 1]."""
    pue: float = 1.0
    """Power usage effectiveness, at least 1: energy of the building over that of the machine; in carbon and cost."""

    def rates(self) -> "Rates":
        """The rates. Raises `ValueError` for values that cannot be, and for flags that miss their other half."""
        from intaglio.energy.conversions import Battery, Rates

        battery = None
        if self.battery is not None:
            battery = Battery(volts=self.battery[0], amp_hours=self.battery[1], health=self.battery_health)
        require(battery is not None or self.battery_health == 1.0, "battery_health is of a battery: give battery too")
        return Rates(
            grams_per_kwh=self.grams_per_kwh,
            price_per_kwh=self.price,
            currency=self.currency,
            battery=battery,
            pue=self.pue,
        )
