"""`RepeatedWindows`: the same work in several windows, over every meter at hand; a fault costs its own figures only."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from intaglio.errors import IntaglioError
from intaglio.meters.csv_trace import CSVTrace, moment_now
from intaglio.meters.machine_meters import FoundMeters
from intaglio.meters.measured_work import MeasuredWork
from intaglio.meters.meter import Meter
from intaglio.meters.monitor import EnergyMonitor
from intaglio.meters.process_time import ProcessTime
from intaglio.meters.spent import Spent

WORK = "work"


@dataclass
class RepeatedWindows:
    """Windows of the same work over processor time, models of it, hardware meters, and a trace of the wall.

    Hardware meters that fail in one window are left out of all, with the reason; so is the trace.
    """

    found: FoundMeters
    models: Sequence[Meter] = ()
    """Meters that cannot fail, such as `StatedWatts`."""
    trace: CSVTrace | None = None
    _times: list[Spent] = field(default_factory=list, repr=False)
    _counted: list[Spent] = field(default_factory=list, repr=False)
    _moments: list[tuple[float, float]] = field(default_factory=list, repr=False)
    _fault: str = field(default="", repr=False)

    def __len__(self) -> int:
        return len(self._times)

    @contextmanager
    def window(self) -> Iterator[None]:
        """One more window around a block. An error in the block goes on, and its window is not kept."""
        with EnergyMonitor([ProcessTime(), *self.models]) as processor, EnergyMonitor(self.found.meters) as counters:
            if not self._fault:
                self._guarded(lambda: counters.begin_window(WORK))
            began = moment_now()
            with processor.window(WORK) as window:
                yield
            moments = began, moment_now()
            if not self._fault:
                self._guarded(lambda: self._counted.append(counters.end_window(WORK)))
        if window.spent is not None:
            self._times.append(window.spent)
            self._moments.append(moments)

    def work(self) -> MeasuredWork:
        """All windows, after the trace has been read."""
        windows, absent = list(self._times), self._fault
        if not self._fault:
            windows = [time.beside(counted) for time, counted in zip(self._times, self._counted, strict=True)]
            absent = self.found.why_not
        if self.trace is not None:
            try:
                walls = [self.trace.spent_once_written(*moments) for moments in self._moments]
                windows = [window.within(wall) for window, wall in zip(windows, walls, strict=True)]
                absent = ""
            except IntaglioError as error:
                absent = "; ".join(filter(None, (absent, f"wall: {error}")))
        return MeasuredWork(tuple(windows), absent)

    def _guarded(self, step: Callable[[], object]) -> None:
        try:
            step()
        except IntaglioError as error:
            self._fault = str(error)
