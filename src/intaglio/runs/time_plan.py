"""`TimePlan`: how long a job takes, part by part, told before it begins."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from intaglio.amounts import duration_words

NAMED_SHARE = 0.02
"""Share of the whole below which a part is not named in the text."""

LEAST_NAMED_S = 0.5
"""Seconds, in words 0 s, up to which a part is not named either."""


@dataclass(frozen=True)
class TimePlan:
    """Seconds of a job by the names of its parts; `str()` is a line for people.

    Each part is a time that was measured on this machine times how often it is done, so that it holds for an idle one.
    """

    parts: Mapping[str, float] = field(default_factory=dict)
    """Seconds, 0 or more, by what is done in them, such as `steps` or `judged pictures`."""
    head: str = ""
    """What is counted in words, such as `60 pictures: 3,600 calls of the denoiser`; a line before that of the time."""
    at_most: bool = False
    """Whether the job may end earlier."""

    @property
    def seconds(self) -> float:
        """All parts together."""
        return sum(self.parts.values(), 0.0)

    def __str__(self) -> str:
        if self.seconds < 1:
            time = "time       under 1 s"
            return f"{self.head}\n{time}" if self.head else time
        most = " at most" if self.at_most else ""
        least = max(LEAST_NAMED_S, NAMED_SHARE * self.seconds)
        named = {name: spent for name, spent in self.parts.items() if spent > least}
        if len(named) > 1:
            told = f": {', '.join(f'{duration_words(spent)} for {name}' for name, spent in named.items())}"
        else:
            told = "".join(f" for {name}" for name in named)
        time = f"time       about {duration_words(self.seconds)}{most}{told}"
        return f"{self.head}\n{time}" if self.head else time
