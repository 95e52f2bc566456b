"""`Deadline`: a moment that pieces of work on other machines end at, by their own clocks."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Deadline:
    """True until a moment has come; the clocks of all machines are taken to agree."""

    at: float
    """Seconds since 1970."""

    @classmethod
    def after(cls, seconds: float | int) -> "Deadline":
        """The moment in so many seconds from now."""
        return cls(_now() + seconds)

    def __call__(self) -> bool:
        return _now() <= self.at


def _now() -> float:
    return datetime.now(UTC).timestamp()
