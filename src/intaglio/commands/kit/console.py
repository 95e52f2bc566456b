"""Output of commands, and the command line being run."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from intaglio.printable import printable
from intaglio.runs.tables import without_nan


@dataclass(frozen=True)
class Invocation:
    """One command line, as `cli.main` was given it."""

    words: tuple[str, ...] = ()
    """The words after `intaglio`."""
    quiet: bool = False
    """No progress and no comments; results and errors only."""
    progress: Literal["auto", "json"] = "auto"
    """How progress is shown where it is."""
    json: bool = False
    """The result is one line of JSON; what is said otherwise is comment."""


NO_INVOCATION = Invocation()
_current: ContextVar[Invocation] = ContextVar("invocation", default=NO_INVOCATION)


@contextmanager
def invoked(invocation: Invocation) -> Iterator[None]:
    """Makes this the command line that `command_line`, `quiet` and `shown` tell of while the block runs."""
    token = _current.set(invocation)
    try:
        yield
    finally:
        _current.reset(token)


def command_line() -> list[str]:
    """The words after `intaglio` of the command being run; empty when called from Python."""
    return list(_current.get().words)


def quiet() -> bool:
    """Whether `--quiet` was given."""
    return _current.get().quiet


def writes_json() -> bool:
    """Whether `--json` was given to a command that has no such flag of its own."""
    return _current.get().json


def shown() -> Literal["auto", "json", "none"]:
    """The argument `progress` of `Run.open`: none under `--quiet`, else that of `--progress`."""
    return "none" if quiet() else _current.get().progress


def say(text: str = "") -> None:
    """Write a line of result to standard output; what a terminal would obey is spelt out. Under --json: a comment."""
    if _current.get().json:
        note(text)
    else:
        _write(sys.stdout, text)


def say_json(value: Any) -> None:
    """Write a value as one line of JSON to standard output; NaN and infinities, which JSON lacks, are null."""
    _write(sys.stdout, json.dumps(without_nan(value), allow_nan=False))


def note(text: str) -> None:
    """Write a line of comment to standard error, unless `--quiet` was given."""
    if not quiet():
        _write(sys.stderr, text)


def _write(stream: Any, text: str) -> None:
    line = f"{printable(text)}\n"
    try:
        stream.write(line)
    except UnicodeEncodeError:  # a terminal that has fewer letters
        encoding = stream.encoding or "ascii"
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
