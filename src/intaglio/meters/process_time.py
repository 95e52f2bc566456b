"""Processor time of this process and its ended children: `ProcessTime` as it is, `StatedWatts` as modelled joules."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from intaglio.errors import require
from intaglio.meters.domain import Domain, Provenance, Scope, Unit
from intaglio.meters.meter import Availability, MeterReading


def cpu_seconds() -> float:
    """User and system time of this process and of its children that have ended and been waited for, in s."""
    import resource

    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass(frozen=True)
class ProcessTime:
    """Processor time, measured by the system; it is no energy, and available everywhere."""

    name: str = "process-time"
    slow: bool = False
    devices: tuple[str, ...] = ()
    tick_s: float | None = None

    def available(self) -> Availability:
        return Availability("ok")

    def domains(self) -> Mapping[str, Domain]:
        return {"process": Domain("process", Scope.PROCESS, Provenance.COUNTER, self.name, Unit.CPU_SECONDS)}

    def read(self) -> MeterReading:
        return MeterReading(time.monotonic(), {"process": cpu_seconds()})

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class StatedWatts:
    """Joules by stated rates: processor seconds times watts, and an idle power over the whole time. Modelled.

    There is no table of processors behind it. Children count when they have ended; stolen time in virtual machines
    makes processor seconds unreliable.
    """

    watts_per_cpu_second: float
    """Joules for each second of one core's work, in W, at least 0."""
    idle_watts: float = 0.0
    """Power of the idle machine in W, at least 0, over the whole time."""
    name: str = "stated-watts"
    slow: bool = False
    devices: tuple[str, ...] = ()
    tick_s: float | None = None

    def __post_init__(self):
        for setting in ("watts_per_cpu_second", "idle_watts"):
            value = getattr(self, setting)
            require(0 <= value < float("inf"), f"{setting} must be a power of at least 0 W, not {value}")

    def available(self) -> Availability:
        return Availability("ok")

    def domains(self) -> Mapping[str, Domain]:
        return {"cpu-model": Domain("cpu-model", Scope.PROCESS, Provenance.MODELLED, self.name)}

    def read(self) -> MeterReading:
        now = time.monotonic()
        return MeterReading(now, {"cpu-model": cpu_seconds() * self.watts_per_cpu_second + now * self.idle_watts})

    def close(self) -> None:
        pass
