"""`Spending`: the joules of the work since a moment, by this machine's meters, or by stated watts where it has none."""

from dataclasses import dataclass

from intaglio.errors import BadInput, IntaglioError
from intaglio.meters.machine_meters import FoundMeters, meters_for
from intaglio.meters.monitor import EnergyMonitor
from intaglio.meters.process_time import StatedWatts

WINDOW = "spending"


@dataclass
class Spending:
    """A window that stays open while joules are asked for; a context manager."""

    monitor: EnergyMonitor
    origin: str
    """How the joules come about: `measured`, `vendor-estimate` or `modelled`."""
    domains: tuple[str, ...]
    """Names of the hardware that is counted."""
    absent: str = ""
    """Hardware that is not counted, with the remedies, in words; empty where nothing is missing."""

    @classmethod
    def begin(
        cls, device: str, watts_per_cpu_second: float | None = None, found: FoundMeters | None = None
    ) -> "Spending":
        """Begins the window.

        Args:
            device: torch device that works.
            watts_per_cpu_second: W of one busy core, for a modelled figure where no meter gives one.
            found: the meters; None takes this machine's.

        Raises:
            BadInput: no meter gives a sum of joules, and no watts are stated.
        """
        found = meters_for(device) if found is None else found
        reason = found.why_not or "this machine has no meter"
        if found.meters:
            try:
                return cls._opened(EnergyMonitor(found.meters), found.why_not)
            except IntaglioError as error:
                reason = str(error)
        if watts_per_cpu_second is None:
            raise BadInput(
                f"no meter here gives joules ({reason}); give --watts-per-cpu-second, the W of one busy core, for a "
                "modelled figure"
            )
        return cls._opened(EnergyMonitor([StatedWatts(watts_per_cpu_second)]), reason)

    def joules(self) -> float:
        """Joules since the beginning. Raises `IntaglioError` where a meter fails; a failure is never 0."""
        return self.monitor.so_far(WINDOW).total()

    def close(self) -> None:
        """Closes the meters."""
        self.monitor.close()

    def __enter__(self) -> "Spending":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @classmethod
    def _opened(cls, monitor: EnergyMonitor, absent: str) -> "Spending":
        try:
            monitor.begin_window(WINDOW)
            spent = monitor.so_far(WINDOW)
            spent.total()  # a sum that means nothing is found now, and not after hours
        except BaseException:
            monitor.close()
            raise
        (kind,) = spent.kinds
        return cls(monitor, kind, tuple(sorted(spent.disjoint())), absent)
