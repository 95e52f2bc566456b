"""A question to a list of runs: words, filters, an order and a page, as an address says them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from intaglio.view.index import RunEntry

PAGE = 50
"""Runs of a page."""
PICKED = 6
"""Runs that are set side by side, at most."""
ORDERS: dict[str, Callable[[RunEntry], Any]] = {
    "run": lambda entry: (entry.verb, entry.method, entry.mark),
    "status": lambda entry: entry.status,
    "started": lambda entry: entry.started,
    "took": lambda entry: entry.seconds,
}
"""Columns that a list can be ordered by."""


@dataclass(frozen=True)
class RunQuery:
    """One question to the list of runs; each field is a parameter of the address where it is not the usual."""

    q: str = ""
    """Words that a run must all have: in its name, settings (`steps=40`), inputs, error."""
    verb: str = ""
    method: str = ""
    status: str = ""
    order: str = "-started"
    """A key of `ORDERS`, with a dash before it for the largest first."""
    page: int = 1
    """Counted from 1."""
    pick: tuple[str, ...] = ()
    """Keys of the runs that are to be set side by side."""

    @classmethod
    def of(cls, given: Mapping[str, str], picked: Sequence[str] = ()) -> "RunQuery":
        """From the parameters of an address; what cannot be one is passed over."""
        order = given.get("order", "")
        page = given.get("page", "")
        return cls(
            q=given.get("q", "").strip()[:200],
            verb=given.get("verb", ""),
            method=given.get("method", ""),
            status=given.get("status", ""),
            order=order if order.removeprefix("-") in ORDERS else cls.order,
            page=max(1, int(page)) if page.isascii() and page.isdecimal() and len(page) < 9 else 1,
            pick=tuple(dict.fromkeys(name for name in picked if name))[:PICKED],
        )

    def address(self, **changes: Any) -> str:
        """The address of this question with some of it changed; anything but a page goes back to the first one."""
        asked = replace(self, **({"page": 1} | changes))
        usual = RunQuery()
        names = ("q", "verb", "method", "status", "order", "page")
        pairs = [(name, getattr(asked, name)) for name in names if getattr(asked, name) != getattr(usual, name)]
        words = urlencode([*pairs, *(("pick", name) for name in asked.pick)])
        return f"/?{words}" if words else "/"

    @property
    def narrowed(self) -> bool:
        """Whether runs may be left out."""
        return bool(self.q or self.verb or self.method or self.status)

    def fits(self, entry: RunEntry) -> bool:
        """Whether a run is asked for."""
        return (
            all(word in entry.words for word in self.q.casefold().split())
            and self.verb in ("", entry.verb)
            and self.method in ("", entry.method)
            and self.status in ("", entry.status)
        )


@dataclass(frozen=True)
class RunAnswer:
    """A page of the runs that a question asks for."""

    query: RunQuery
    """The question, with a page that is there."""
    rows: Sequence[RunEntry]
    total: int
    """Runs that fit, on all pages."""
    pages: int
    first: int
    """Number of the first row, counted from 1; 0 without rows."""


@dataclass(frozen=True)
class Choices:
    """The values that filters can take, with the number of runs of each."""

    verbs: Sequence[tuple[str, int]]
    methods: Sequence[tuple[str, int]]
    """Of the verb that is asked for, or of all."""
    statuses: Sequence[tuple[str, int]]


def answer(entries: Sequence[RunEntry], query: RunQuery) -> RunAnswer:
    """The page of `entries`, which come in the order of their start, the newest first."""
    rows = [entry for entry in entries if query.fits(entry)]
    if query.order != RunQuery.order:
        rows.sort(key=ORDERS[query.order.removeprefix("-")], reverse=query.order.startswith("-"))
    pages = max(1, -(-len(rows) // PAGE))
    page = min(query.page, pages)
    start = (page - 1) * PAGE
    shown = rows[start : start + PAGE]
    return RunAnswer(replace(query, page=page), shown, len(rows), pages, start + 1 if shown else 0)


def choices(entries: Sequence[RunEntry], query: RunQuery) -> Choices:
    """The filters of a list; what is asked for is among them, also where no run has it."""
    of_verb = [entry for entry in entries if query.verb in ("", entry.verb)]
    return Choices(
        verbs=_counted((entry.verb for entry in entries), query.verb),
        methods=_counted((entry.method for entry in of_verb), query.method),
        statuses=_counted((entry.status for entry in entries), query.status),
    )


def _counted(values: Any, asked: str) -> list[tuple[str, int]]:
    counts = Counter(value for value in values if value)
    if asked:
        counts.setdefault(asked, 0)
    return sorted(counts.items())
