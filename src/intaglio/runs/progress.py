"""Progress of the work: a bar with the time left on a terminal, lines of text elsewhere, JSON lines, or nothing."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Literal, Protocol, runtime_checkable

from tqdm import tqdm

from intaglio.amounts import duration_words
from intaglio.printable import printable
from intaglio.runs.tables import without_nan

Show = Literal["auto", "json", "none"]
"""auto: a bar where standard error is a terminal or in a notebook, lines of text on it elsewhere. json: a line of JSON
each."""

LINE_EVERY_S = 10.0
"""Seconds between two lines at least."""


@runtime_checkable
class Progress(Protocol):
    """The progress of one piece of work, as a method reports it."""

    def advance(self, n: int = 1, **numbers: float | int) -> None:
        """`n` more are done; `numbers`, such as `loss`, are shown beside."""
        ...


@contextmanager
def showing(total: int, label: str, done: int, show: Show) -> Iterator[Progress]:
    """The progress of one piece of work of `total` steps, of which `done` were done before."""
    if show == "none":
        yield _Silent()
    elif show == "auto" and (sys.stderr.isatty() or in_notebook()):
        with _bar_kind()(
            total=total, initial=done, desc=printable(label), file=sys.stderr, dynamic_ncols=True, leave=None
        ) as bar:
            yield _Bar(bar)
    else:
        lines = _Lines(total, label, done, show)
        try:
            yield lines
        finally:
            lines.close()


def in_notebook() -> bool:
    """Whether IPython's kernel runs this, as in Jupyter; its shell on a terminal has none."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def _bar_kind() -> type[tqdm]:
    """A bar of widgets in a notebook where `ipywidgets` is installed; a bar of text elsewhere."""
    if not in_notebook() or find_spec("ipywidgets") is None:
        return tqdm
    from tqdm.auto import tqdm as automatic  # it looks for widgets when it is imported

    return automatic


def tell(event: str, message: str, show: Show) -> None:
    """A sentence to standard error, in the manner of the progress."""
    if show == "none":
        return
    if show == "json":
        _line(_as_json({"event": event, "message": message}))
    elif sys.stderr.isatty():
        tqdm.write(printable(f"{event}: {message}"), file=sys.stderr)
    else:
        _line(printable(f"{event}: {message}"))


def _as_json(values: dict) -> str:
    return json.dumps(without_nan(values), allow_nan=False)


def _line(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class _Silent:
    def advance(self, n: int = 1, **numbers: float | int) -> None:
        pass


class _Bar:
    def __init__(self, bar: tqdm):
        self._bar = bar

    def advance(self, n: int = 1, **numbers: float | int) -> None:
        if numbers:
            self._bar.set_postfix({name: f"{number:.4g}" for name, number in numbers.items()}, refresh=False)
        self._bar.update(n)


class _Lines:
    """A line at the start, then at most one every ten seconds, and one at the end."""

    def __init__(self, total: int, label: str, done: int, show: Show):
        self._total, self._label, self._done, self._before, self._show = total, label, done, done, show
        self._numbers: dict[str, float | int] = {}
        self._began = time.monotonic()
        self._write()

    def advance(self, n: int = 1, **numbers: float | int) -> None:
        self._done += n
        self._numbers = numbers or self._numbers
        if time.monotonic() - self._written >= LINE_EVERY_S:
            self._write()

    def close(self) -> None:
        if self._told != self._done:
            self._write()

    def _write(self) -> None:
        self._written, self._told = time.monotonic(), self._done
        spent = self._written - self._began
        fresh = self._done - self._before
        left = round(spent / fresh * (self._total - self._done), 1) if fresh else None
        numbers = {name: float(number) for name, number in self._numbers.items()}
        if self._show == "json":
            state = {"event": "progress", "label": self._label, "done": self._done, "total": self._total}
            _line(_as_json({**state, "seconds": round(spent, 1), "seconds_left": left, **numbers}))
            return
        words = [f"{self._label} {self._done} of {self._total}", duration_words(spent)]
        words += [f"{duration_words(left)} left"] if left else []
        words += [f"{name.replace('_', ' ')} {number:.4g}" for name, number in numbers.items()]
        _line(printable(", ".join(words)))
