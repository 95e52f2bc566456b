"""`Meter`: cumulative figures of a machine, read at two moments; and what can be wrong with one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from intaglio.errors import IntaglioError
from intaglio.meters.domain import Domain

State = Literal["ok", "missing-library", "no-permission", "unsupported"]


class MeterFailed(IntaglioError):
    """A meter gave no figure, or one that cannot be: no figure of its window holds."""


class WindowTooShort(IntaglioError):
    """A window shorter than what the meter can resolve."""


@dataclass(frozen=True)
class Availability:
    """Whether a meter can be read on this machine, and why not."""

    state: State
    why: str = ""
    """One clause that names what is missing and the remedy; empty where all is well."""

    def __bool__(self) -> bool:
        return self.state == "ok"


@dataclass(frozen=True)
class MeterReading:
    """The cumulative figures of a meter at one moment."""

    time_s: float
    """Moment on the monotonic clock, in s."""
    amounts: Mapping[str, float]
    """Figure of each domain since the meter's own beginning, in the domain's unit."""
    breaks: int = 0
    """Times until now in which the meter counted nothing, such as a suspension; a window that holds one fails."""
    why_broken: str = ""
    """The last of these times, in words."""
    shared: frozenset[str] = frozenset()
    """Domains in which others were at work at this moment; they are shared in every window that the reading bounds."""


@runtime_checkable
class Meter(Protocol):
    """A meter of one machine. Making one costs nothing; the first `read` opens it, and it may start a thread then."""

    @property
    def name(self) -> str:
        """The meter's name in results, such as `rapl`."""
        ...

    @property
    def slow(self) -> bool:
        """Whether a reading takes milliseconds; slow meters are read outside of fast ones."""
        ...

    @property
    def devices(self) -> tuple[str, ...]:
        """Torch devices whose queued work must end before a reading, such as `cuda:0`."""
        ...

    @property
    def tick_s(self) -> float | None:
        """Time between two changes of its figures under load, in s; None where they change with every reading."""
        ...

    def available(self) -> Availability:
        """Whether it can be read here; nothing is changed, and no permission is asked for."""
        ...

    def domains(self) -> Mapping[str, Domain]:
        """Domains that its figures cover, by name. Raises `MeterFailed`."""
        ...

    def read(self) -> MeterReading:
        """The figures now. Raises `MeterFailed`; never gives 0 for a figure that it could not read."""
        ...

    def close(self) -> None:
        """Ends threads and handles; a later `read` opens it again."""
        ...
