"""Inputs of commands whose training may be ended by a budget of energy, and the stop rule that they make."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intaglio.commands.kit.energy_inputs import EnergyRates
from intaglio.commands.kit.idle_flags import idle_flags
from intaglio.data_files import is_number
from intaglio.errors import BadInput, require
from intaglio.files import file_hash

if TYPE_CHECKING:
    from intaglio.energy.energy_budget import EnergyBudget
    from intaglio.energy.jobs import JobWork
    from intaglio.energy.machine_profile import MachineProfile
    from intaglio.meters.spending import Spending
    from intaglio.runs.run import Run

JOULES = "J"
STREAM, USED, STEP = "energy", "used_joules", "step_joules"
"""Rows of a run on the energy of its training, and the numbers in them. They are never cut back: energy of steps that a
killed process lost was spent all the same."""


@dataclass(frozen=True, kw_only=True)
class EnergyStop(EnergyRates):
    """A command that trains within a budget of energy."""

    energy_budget: str | None = None
    """Energy that the run may take, such as "20 kJ", "0.5 kWh", "10 %" of the battery, "50 g" of CO2e or "0.3 EUR": the
    training ends before that is spent, with the result so far. Measured by this machine's meters."""
    watts_per_cpu_second: float | None = None
    """Power of one busy core in W, by which the energy is modelled where no meter can be read."""
    energy_profile: Path | None = None
    """Profile that says what a step takes: steps are counted by it where no meter can be read, and compared with it
    where one can; none takes this machine's own."""

    def budget_settings(self) -> dict[str, Any]:
        """The budget as settings that name a run; none without one, so that earlier runs keep their names."""
        if self.energy_budget is None:
            return {}
        found: dict[str, Any] = {"energy_budget_joules": self._joules()}
        if self.watts_per_cpu_second is not None:
            found["watts_per_cpu_second"] = self.watts_per_cpu_second
        if self.energy_profile is not None:
            found["energy_profile"] = file_hash(self.energy_profile)
        return found

    def check_energy_flags(self) -> None:
        """Raises `ValueError` for rates that cannot be, and for flags that do nothing without a budget."""
        self.rates()
        if self.watts_per_cpu_second is not None:
            from intaglio.meters.process_time import StatedWatts

            StatedWatts(self.watts_per_cpu_second)
        if self.energy_budget is None:
            names = (*(field.name for field in fields(EnergyRates)), "watts_per_cpu_second", "energy_profile")
            given = idle_flags(self, names)
            require(not given, f"{', '.join(given)} is of an energy budget: give --energy-budget too, or leave it out")

    def check_energy(self, device: str) -> None:
        """Raises `BadInput` for a budget that cannot be read, and where no meter, watts or profile can hold it."""
        if self.energy_budget is not None:
            self._joules()
            profile = self._profile(device)
            if (spending := self._spending(device, profile)) is not None:
                spending.close()

    @contextmanager
    def energy_stop(self, run: "Run", device: str, work: "Callable[[], JobWork]") -> "Iterator[EnergyBudget | None]":
        """The stop rule of a run's training, whose window begins now; None without a budget.

        `work` gives the work of one step, where a profile can say what that takes. Earlier parts of the run count by
        the rows that they left.
        """
        if self.energy_budget is None:
            yield None
            return
        from intaglio.energy.energy_budget import EnergyBudget

        profile = self._profile(device)
        spending = self._spending(device, profile)
        with nullcontext() if spending is None else spending:
            for warning in self._warnings(spending):
                run.warn(warning)
            yield EnergyBudget(
                self._joules(),
                None if spending is None else spending.joules,
                step_joules=self._step_joules(profile, spending, work),
                origin="estimated" if spending is None else spending.origin,
                before=max(_noted(run, USED), default=0.0),
                recent=_noted(run, STEP),
                warn=run.warn,
                told=partial(_note, run),
            )

    def _profile(self, device: str) -> "MachineProfile | None":
        """The given profile or this machine's own; None where there is none."""
        from intaglio.energy.machine_profile import machine_profile

        return machine_profile(device, self.energy_profile)

    def _spending(self, device: str, profile: "MachineProfile | None") -> "Spending | None":
        """The window of a meter or of stated watts; None where a profile in joules has to do."""
        from intaglio.meters.spending import Spending

        try:
            return Spending.begin(device, self.watts_per_cpu_second)
        except BadInput as error:
            if profile is not None and profile.profile.unit == JOULES:
                return None
            raise BadInput(f"{error}, or --energy-profile with a profile in joules") from None

    def _warnings(self, spending: "Spending | None") -> list[str]:
        if spending is None:
            return ["the energy budget counts steps by a profile's estimate, for no meter can be read"]
        found = []
        if spending.absent:
            counted = " and ".join(spending.domains)
            found.append(f"the energy budget counts {counted} ({spending.origin}); not counted: {spending.absent}")
        if spending.origin != "modelled" and self.watts_per_cpu_second is not None:
            found.append("the energy budget is held by a meter, so --watts-per-cpu-second has no effect")
        return found

    def _step_joules(
        self, found: "MachineProfile | None", spending: "Spending | None", work: "Callable[[], JobWork]"
    ) -> float | None:
        """The estimated joules of a step; None where no profile here is of the unit that is counted.

        Raises `BadInput` where there is nothing but the estimate, and the profile covers too little of the work.
        """
        if found is None:
            return None
        rate = 1.0 if found.profile.unit == JOULES else self.watts_per_cpu_second
        if rate is None or (spending is not None and (spending.origin == "modelled") == (found.profile.unit == JOULES)):
            return None
        from intaglio.commands.kit.energy_lines import predictor_of
        from intaglio.energy.energy_estimate import estimate

        try:
            return rate * estimate(predictor_of(found), work()).whole.amount or None
        except BadInput:
            if spending is None:
                raise
            return None

    def _joules(self) -> float:
        from intaglio.energy.conversions import parse_joules

        return parse_joules(self.energy_budget or "", self.rates())


def _note(run: "Run", step: int, used: float, cost: float | None) -> None:
    run.log(STREAM, step, **{USED: used}, **({} if cost is None else {STEP: cost}))


def _noted(run: "Run", name: str) -> list[float]:
    """Joules of this name that earlier parts of a run noted; what cannot be joules is passed over."""
    found: list[Any] = [row.get(name) for row in run.logged(STREAM)]
    return [float(one) for one in found if is_number(one) and one >= 0]
