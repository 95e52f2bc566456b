"""`intaglio bench NAME`: a bench's figures as a table or as one line of JSON."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

from tyro.conf import OmitArgPrefixes

from intaglio.commands.kit.console import command_line, note, say, say_json, shown

B = TypeVar("B")


class Measured(Protocol):
    """A bench: callable, with a summary of its figures."""

    def __call__(self, *, command: Sequence[str], progress: Literal["auto", "json", "none"]) -> dict[str, Any]:
        """Figures by name. `command` and `progress` are those of the `Run` that keeps the work."""
        ...

    def summary(self, figures: dict[str, Any]) -> str:
        """The figures as a table for people."""
        ...


@dataclass(frozen=True)
class Bench(Generic[B]):
    """Compare methods on one bench."""

    method: OmitArgPrefixes[B]
    json: bool = False
    """End with the figures as one line of JSON on standard output; the table goes to standard error."""

    def __call__(self) -> None:
        bench = cast(Measured, self.method)
        with getattr(bench, "spread", nullcontext)():
            figures = bench(command=command_line(), progress=shown())
        if self.json:
            note(bench.summary(figures))
            say_json(figures)
        else:
            say(bench.summary(figures))
