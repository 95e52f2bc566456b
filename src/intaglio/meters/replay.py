"""Meters without hardware: `Replay` gives stored readings one after the other, `NoMeter` none and the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from intaglio.meters.domain import Domain
from intaglio.meters.meter import Availability, MeterFailed, MeterReading


@dataclass
class Replay:
    """Stored readings, one a call of `read`; an exception among them is raised in its place."""

    readings: Sequence[MeterReading | Exception]
    covered: Mapping[str, Domain]
    name: str = "replay"
    slow: bool = False
    devices: tuple[str, ...] = ()
    tick_s: float | None = None
    _next: int = field(default=0, repr=False)

    def available(self) -> Availability:
        return Availability("ok")

    def domains(self) -> Mapping[str, Domain]:
        return self.covered

    def read(self) -> MeterReading:
        """The next stored reading. Raises `MeterFailed` past the last."""
        if self._next >= len(self.readings):
            raise MeterFailed(f"{self.name} has no further reading after {len(self.readings)}")
        reading = self.readings[self._next]
        self._next += 1
        if isinstance(reading, Exception):
            raise reading
        return reading

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class NoMeter:
    """The meter of a machine that has none."""

    why: str = "this machine has no meter that can be read"
    name: str = "none"
    slow: bool = False
    devices: tuple[str, ...] = ()
    tick_s: float | None = None

    def available(self) -> Availability:
        return Availability("unsupported", self.why)

    def domains(self) -> Mapping[str, Domain]:
        return {}

    def read(self) -> MeterReading:
        """Raises `MeterFailed` with the reason."""
        raise MeterFailed(self.why)

    def close(self) -> None:
        pass
