"""Inputs of commands whose training may be ended by a budget of energy, and the stop rule that they make."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from intaglio.commands.kit.energy_inputs import EnergyRates
from intaglio.commands.kit.idle_flags import idle_flags
from intaglio.errors import require

if TYPE_CHECKING:
    from intaglio.energy.energy_budget import EnergyBudget
    from intaglio.runs.run import Run

STREAM, USED = "energy", "used_joules"
"""Rows of a run on the energy of its training, and the number in them. They are never cut back: energy of steps that a
killed process lost was spent all the same."""


@dataclass(frozen=True, kw_only=True)
class EnergyStop(EnergyRates):
    """A command that trains within a budget of energy."""

    energy_budget: str | None = None
    """Energy that the run may take, such as "20 kJ", "0.5 kWh", "10 %" of the battery, "50 g" of CO2e or "0.3 EUR": the
    training ends before that is spent, with the result so far. Measured by this machine's meters."""
    watts_per_cpu_second: float | None = None
    """Power of one busy core in W, by which the energy is modelled where no meter can be read."""

    def budget_settings(self) -> dict[str, float]:
        """The budget as settings that name a run; none without one, so that earlier runs keep their names."""
        if self.energy_budget is None:
            return {}
        watts = {} if self.watts_per_cpu_second is None else {"watts_per_cpu_second": self.watts_per_cpu_second}
        return {"energy_budget_joules": self._joules(), **watts}

    def check_energy_flags(self) -> None:
        """Raises `ValueError` for rates that cannot be, and for flags that do nothing without a budget."""
        self.rates()
        if self.watts_per_cpu_second is not None:
            from intaglio.meters.process_time import StatedWatts

            StatedWatts(self.watts_per_cpu_second)
        if self.energy_budget is None:
            names = (*(field.name for field in fields(EnergyRates)), "watts_per_cpu_second")
            given = idle_flags(self, names)
            require(not given, f"{', '.join(given)} is of an energy budget: give --energy-budget too, or leave it out")

    def check_energy(self, device: str) -> None:
        """Raises `BadInput` for a budget that cannot be read, and where no meter and no stated watts can hold it."""
        if self.energy_budget is not None:
            from intaglio.meters.spending import Spending

            self._joules()
            Spending.begin(device, self.watts_per_cpu_second).close()

    @contextmanager
    def energy_stop(self, run: "Run", device: str) -> "Iterator[EnergyBudget | None]":
        """The stop rule of a run's training, whose window begins now; None without a budget.

        Earlier parts of the run count by the rows that they left.
        """
        if self.energy_budget is None:
            yield None
            return
        from intaglio.energy.energy_budget import EnergyBudget
        from intaglio.meters.spending import Spending

        with Spending.begin(device, self.watts_per_cpu_second) as spending:
            if spending.absent:
                counted = " and ".join(spending.domains)
                run.warn(f"the energy budget counts {counted} ({spending.origin}); not counted: {spending.absent}")
            if spending.origin != "modelled" and self.watts_per_cpu_second is not None:
                run.warn("the energy budget is held by a meter, so --watts-per-cpu-second has no effect")
            yield EnergyBudget(
                self._joules(),
                spending.joules,
                origin=spending.origin,
                before=_used(run),
                warn=run.warn,
                told=lambda step, used: run.log(STREAM, step, **{USED: used}),
            )

    def _joules(self) -> float:
        from intaglio.energy.conversions import parse_joules

        return parse_joules(self.energy_budget or "", self.rates())


def _used(run: "Run") -> float:
    """Joules that earlier parts of a run noted; 0 where they noted none."""
    found: list[Any] = [row.get(USED) for row in run.logged(STREAM)]
    numbers = [float(one) for one in found if isinstance(one, int | float) and math.isfinite(one) and one >= 0]
    return max(numbers, default=0.0)
