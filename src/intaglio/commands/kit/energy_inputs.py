"""Inputs of commands that turn joules into other units: rates of the electricity, and a battery."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intaglio.energy.conversions import Battery, Rates


@dataclass(frozen=True, kw_only=True)
class EnergyRates:
    """A command that knows what its electricity costs; no rate has a hidden default."""

    grams_per_kwh: float | None = None
    """Carbon intensity of the electricity here and now, in g CO2e a kWh, at least 0."""
    price_per_kwh: float | None = None
    """Price of the electricity, in --currency a kWh, at least 0."""
    currency: str = ""
    """Word or sign of the price's unit, such as EUR."""
    battery_volts: float | None = None
    """Nominal voltage of the battery in V, above 0; with --battery-amp-hours."""
    battery_amp_hours: float | None = None
    """Nominal charge of the battery in Ah, above 0; with --battery-volts."""
    battery_health: float = 1.0
    """Share of its nominal charge that the battery still holds, in (0, 1]."""
    pue: float = 1.0
    """Power usage effectiveness, at least 1: energy of the building over that of the machine, in carbon and cost."""

    def rates(self) -> "Rates":
        """The rates. Raises `ValueError` for values that cannot be, and for flags that miss their other half."""
        from intaglio.energy.conversions import Rates

        return Rates(
            grams_per_kwh=self.grams_per_kwh,
            price_per_kwh=self.price_per_kwh,
            currency=self.currency,
            battery=self._battery(),
            pue=self.pue,
        )

    def _battery(self) -> "Battery | None":
        from intaglio.energy.conversions import Battery
        from intaglio.errors import require

        volts, charge = self.battery_volts, self.battery_amp_hours
        if volts is None or charge is None:
            require(volts is charge, "battery_volts and battery_amp_hours go together: give both, or none")
            require(self.battery_health == 1.0, "battery_health is of a battery: give its volts and amp-hours too")
            return None
        return Battery(volts=volts, amp_hours=charge, health=self.battery_health)
