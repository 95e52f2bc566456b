"""`intaglio bench NAME`: one bench, in words or as one line of JSON."""

import json
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from tyro.conf import OmitArgPrefixes

from intaglio.commands.console import note, say

B = TypeVar("B")


class Measured(Protocol):
    """What a bench offers."""

    def __call__(self) -> dict[str, Any]:
        """Measure; the figures by name."""
        ...

    def summary(self, figures: dict[str, Any]) -> str:
        """The figures as a table for people."""
        ...


@dataclass(frozen=True)
class Bench(Generic[B]):
    """Set methods side by side on one bench."""

    method: OmitArgPrefixes[B]
    json: bool = False
    """End with the figures as one line of JSON on standard output; the table goes to standard error."""

    def __call__(self) -> None:
        bench = cast(Measured, self.method)
        figures = bench()
        if self.json:
            note(bench.summary(figures))
            say(json.dumps(figures, allow_nan=False))
        else:
            say(bench.summary(figures))
