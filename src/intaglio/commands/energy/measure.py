"""`intaglio energy measure -- COMMAND`: joules and seconds of any command, by the meters of this machine."""

import subprocess
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from intaglio.commands.kit.console import note, say, say_json
from intaglio.errors import BadInput
from intaglio.meters.trace_units import TimeUnit, TraceUnit

if TYPE_CHECKING:
    from intaglio.meters.csv_trace import CSVTrace
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
    trace: Path | None = None
    """CSV file that the logger of a meter at the wall writes meanwhile; its joules contain all others."""
    trace_columns: tuple[str, str] = ("time", "auto")
    """Names of the columns of times and of values in the trace; auto: watts or joules, whichever it has."""
    trace_unit: TraceUnit = "auto"
    """Unit of the values of the trace; auto: W for watts, J for joules."""
    trace_time_unit: TimeUnit = "s"
    """Unit of times in the trace that are numbers since 1970."""
    trace_zone: str = ""
    """Time zone of ISO times in the trace that state none, such as UTC, +02:00 or Europe/Berlin."""
    trace_offset: float = 0.0
    """Time in s that is added to those of the trace to make them this machine's."""
    json: bool = False
    """End with one line of JSON; what the command itself prints comes before."""

    def __post_init__(self) -> None:
        if not 1 <= self.repeat <= MOST:
            raise ValueError(f"repeat must be at least 1 and at most {MOST}, not {self.repeat}")
        if self.idle_watts and self.watts_per_cpu_second is None:
            raise ValueError("idle_watts is a part of the modelled figure, which wants watts_per_cpu_second too")
        of_trace = (one for one in fields(self) if one.name.startswith("trace_"))
        given = [one.name for one in of_trace if getattr(self, one.name) != one.default]
        if given and self.trace is None:
            raise ValueError(f"{given[0]} is about a trace, and wants trace too")
        self._models()
        self._trace()

    def __call__(self) -> int:
        """Run the command; returns its exit code."""
        from intaglio.meters.machine_meters import meters_for
        from intaglio.meters.repeated_windows import RepeatedWindows

        if not self.command:
            raise BadInput("energy measure wants a command after two dashes, such as -- python train.py")
        trace, code = self._trace(), 0
        if trace is not None:
            trace.read()
        windows = RepeatedWindows(meters_for(self.device), self._models(), trace)
        while not code and len(windows) < self.repeat:
            with windows.window():
                code = _run(self.command)
        if code:
            note(f"the command ended with exit code {code}, and its figures are those of what it did until then")
        work = windows.work()
        if self.json:
            say_json({"command": list(self.command), "exit_code": code, **work.figures()})
        else:
            say(str(work))
        return code

    def _models(self) -> "list[StatedWatts]":
        from intaglio.meters.process_time import StatedWatts

        rate = self.watts_per_cpu_second
        return [] if rate is None else [StatedWatts(rate, self.idle_watts)]

    def _trace(self) -> "CSVTrace | None":
        if self.trace is None:
            return None
        from intaglio.meters.csv_trace import CSVTrace

        time_column, value_column = self.trace_columns
        unit, time_unit = self.trace_unit, self.trace_time_unit
        return CSVTrace(self.trace, time_column, value_column, unit, time_unit, self.trace_zone, self.trace_offset)


def _run(command: tuple[str, ...]) -> int:
    """The exit code of a command in this terminal; 128 and the signal's number where a signal ended it."""
    try:
        code = subprocess.run(command).returncode
    except OSError as error:
        raise BadInput(f"{command[0]} cannot be run: {error.strerror}") from None
    return code if code >= 0 else 128 - code
