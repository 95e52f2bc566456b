"""`intaglio energy measure -- COMMAND`: joules and seconds of any command, by the meters of this machine."""

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from intaglio.commands.kit.console import note, say, say_json
from intaglio.errors import BadInput, IntaglioError

if TYPE_CHECKING:
    from intaglio.meters.process_time import StatedWatts

MOST = 10_000
"""Most repetitions of a command."""


@dataclass(frozen=True, kw_only=True)
class MeasureEnergy:
    """Measure a command: its seconds, its processor time, and the joules of every meter that this machine has.

    Measured and modelled figures stand apart and are never added. Counters of processors and boards count everything
    that runs on them, so leave the machine to the command. The exit code is the command's.
    """

    command: Annotated[Positional[tuple[str, ...]], arg(metavar="-- COMMAND ...")]
    """The program and its arguments, after two dashes."""
    device: str = "cpu"
    """Accelerator that is metered beside the processor, such as cuda or cuda:1; cpu: none."""
    repeat: int = 1
    """Times that the command is run, one after the other; figures are means, with their spread."""
    watts_per_cpu_second: float | None = None
    """Power of one busy core in W, for a modelled figure: processor seconds times this; by default none is given."""
    idle_watts: float = 0.0
    """Power of the idle machine in W, which the modelled figure adds over the whole time."""
    json: bool = False
    """End with one line of JSON; what the command itself prints comes before."""

    def __post_init__(self) -> None:
        if not 1 <= self.repeat <= MOST:
            raise ValueError(f"repeat must be at least 1 and at most {MOST}, not {self.repeat}")
        if self.idle_watts and self.watts_per_cpu_second is None:
            raise ValueError("idle_watts is a part of the modelled figure, which wants watts_per_cpu_second too")
        self._models()

    def __call__(self) -> int:
        """Run the command; returns its exit code."""
        from intaglio.meters.machine_meters import meters_for
        from intaglio.meters.measured_work import MeasuredWork
        from intaglio.meters.monitor import EnergyMonitor
        from intaglio.meters.process_time import ProcessTime

        if not self.command:
            raise BadInput("energy measure wants a command after two dashes, such as -- python train.py")
        found, windows, code = meters_for(self.device), [], 0
        processor = EnergyMonitor([ProcessTime(), *self._models()])
        with EnergyMonitor(found.meters) as counters:
            fault = ""
            while not code and len(windows) < self.repeat:
                counters.begin_window("command")
                processor.begin_window("command")
                code = _run(self.command)
                spent = processor.end_window("command")
                try:
                    windows.append(spent.beside(counters.end_window("command")))
                except IntaglioError as error:
                    fault = str(error)
                    windows.append(spent)
        if code:
            note(f"the command ended with exit code {code}, and its figures are those of what it did until then")
        work = MeasuredWork(tuple(windows), fault or found.why_not)
        if self.json:
            say_json({"command": list(self.command), "exit_code": code, **work.figures()})
        else:
            say(str(work))
        return code

    def _models(self) -> "list[StatedWatts]":
        from intaglio.meters.process_time import StatedWatts

        rate = self.watts_per_cpu_second
        return [] if rate is None else [StatedWatts(rate, self.idle_watts)]


def _run(command: tuple[str, ...]) -> int:
    """The exit code of a command in this terminal; 128 and the signal's number where a signal ended it."""
    try:
        code = subprocess.run(command).returncode
    except OSError as error:
        raise BadInput(f"{command[0]} cannot be run: {error.strerror}") from None
    return code if code >= 0 else 128 - code
