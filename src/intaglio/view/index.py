"""The runs of a folder, kept in memory and read again where their `run.json` changed."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock
from typing import Any

from intaglio.errors import BadInput
from intaglio.printable import one_line
from intaglio.report.kit.format import decimal, flattened
from intaglio.runs.activity import locked_files, works_on
from intaglio.runs.header import FILE
from intaglio.runs.store import StoredRun, read_folder

FRESH_S = 1.0
"""Seconds for which the folder is not looked at again."""
FIRST_S = 0.5
"""Seconds that the first page waits for the first runs."""
SHOW_EVERY = 500
"""Runs read between two moments at which the list shows them."""
FIGURES = 4
"""Figures of a run's summary that the list shows, at most."""
LONGEST_NAME = 24
"""Letters of a figure's name in the list, at most."""
RUNNING = "running"
"""Status of an unfinished run that a process works on."""
LONGEST = 2_000
"""Letters of a value of `run.json` that are searched and shown, at most."""


@dataclass(frozen=True)
class RunInput:
    """One input of a run."""

    role: str
    path: str
    sha256: str
    """Of its content; empty where none is stored."""


@dataclass(frozen=True)
class RunEntry:
    """All that lists know of a run: a small part of its `run.json`."""

    folder: Path
    key: str
    """Name in addresses: the folder's, what is not text in it spelt out."""
    verb: str
    method: str
    mark: str
    """The end of the name, ten hex digits in a run's own name."""
    status: str
    """running, unfinished, failed, done or damaged"""
    started: str
    """date and time in UTC, ISO 8601; empty where it is not known"""
    finished: str
    """likewise"""
    seconds: float
    """time worked"""
    prompt: str
    figures: Sequence[tuple[str, str]]
    """the first few of its summary, by name"""
    inputs: Sequence[RunInput]
    error: str
    words: str
    """all that is searched, in small letters"""


@dataclass(frozen=True)
class Known:
    """The runs that were read so far."""

    entries: Sequence[RunEntry] = ()
    """the newest start first"""
    unread: int = 0
    """Folders that were found and are yet to be read."""
    begun: bool = True
    """Whether the folder was looked at; False before the first look has shown anything."""


@dataclass(frozen=True)
class _Stored:
    """A run's entry with what tells whether its file changed."""

    sign: tuple[int, int, int]
    entry: RunEntry


class RunIndex:
    """The runs right below a folder; folders without a `run.json` are none."""

    def __init__(self, root: Path):
        """Raises `BadInput` where `root` is no folder."""
        self.root = Path(root)
        if not self.root.is_dir():
            what = "is a file" if self.root.exists() else "is not there"
            raise BadInput(f"{self.root} {what}; give the folder that holds the runs' folders")
        self._stored: dict[str, _Stored] = {}
        self._known = Known(begun=False)
        self._begun = Event()
        self._by_key: dict[str, RunEntry] = {}
        self._looked = float("-inf")
        self._lock = Lock()

    def known(self) -> Known:
        """The runs as the folder holds them now, within a second; while they are first read, those read so far.

        Waits for the first of them, at most `FIRST_S` seconds.
        """
        if time.monotonic() - self._looked > FRESH_S:
            self.refresh(wait=False)
        self._begun.wait(FIRST_S)
        return self._known

    def find(self, key: str) -> RunEntry | None:
        """The run of this key; None where there is none."""
        self.known()
        return self._by_key.get(key)

    def refresh(self, wait: bool = True) -> None:
        """Looks at the folder and reads what is new in it; without `wait` not where another thread does."""
        if not self._lock.acquire(blocking=wait):
            return
        try:
            self._refresh()
            self._looked = time.monotonic()
        finally:
            self._lock.release()

    def _refresh(self) -> None:
        found = dict(_headers(self.root))
        before = len(self._stored)
        self._stored = {name: stored for name, stored in self._stored.items() if name in found}
        changed = [name for name, sign in found.items() if self._sign(name) != sign]
        # The last written first: what is at work, and what is new, is seen before all is read.
        changed.sort(key=lambda name: found[name][0], reverse=True)
        for count, name in enumerate(changed):
            self._stored[name] = _Stored(found[name], entry_of(read_folder(self.root / name)))
            if count % SHOW_EVERY == SHOW_EVERY // 10:
                self._show(len(changed) - count - 1)
        locked, now = locked_files(), time.time_ns() / 1e9
        moved = bool(changed) or len(self._stored) != before or not self._known.begun
        for name, stored in self._stored.items():
            if stored.entry.status in ("unfinished", RUNNING):
                status = RUNNING if works_on(stored.entry.folder, locked, now) else "unfinished"
                if status != stored.entry.status:
                    self._stored[name] = replace(stored, entry=replace(stored.entry, status=status))
                    moved = True
        if moved or self._known.unread:
            self._show(0)

    def _sign(self, name: str) -> tuple[int, int, int] | None:
        stored = self._stored.get(name)
        return None if stored is None else stored.sign

    def _show(self, unread: int) -> None:
        entries = sorted((s.entry for s in self._stored.values()), key=lambda e: (e.started, e.key), reverse=True)
        self._by_key = {entry.key: entry for entry in entries}
        self._known = Known(entries, unread)
        self._begun.set()


def _headers(root: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """The names of the folders with a `run.json`, each with what changes when that file does."""
    try:
        with os.scandir(root) as children:
            names = [child.name for child in children if not child.name.startswith(".")]
    except OSError:  # the folder was taken away meanwhile: no runs are left to show
        return
    start = f"{root}{os.sep}"
    for name in names:
        try:
            about = os.lstat(f"{start}{name}{os.sep}{FILE}")
        except OSError:
            continue
        yield name, (about.st_mtime_ns, about.st_size, about.st_ino)


def entry_of(run: StoredRun) -> RunEntry:
    """The entry of a run, from its `run.json`."""
    header = run.header
    settings = header.get("settings") if isinstance(header.get("settings"), Mapping) else {}
    inputs = [_input(role, about) for role, about in (header.get("inputs") or {}).items()]
    error = _short(header.get("error") or "")
    prompt = settings.get("prompt") if isinstance(settings, Mapping) else None
    prompt = prompt if isinstance(prompt, str) else ""
    pairs = [f"{name}={_short(value)}" for name, value in flattened(settings or {})]
    words = [run.name, run.verb, run.method, run.status, run.started, error, f"seed={header.get('seed')}", *pairs]
    words += [f"{one.role} {one.path} {one.sha256[:16]}" for one in inputs]
    return RunEntry(
        folder=run.folder,
        key=one_line(run.name),
        verb=_short(run.verb),
        method=_short(run.method),
        mark=_mark(run),
        status=run.status or "unfinished",
        started=run.started,
        finished=run.finished or "",
        seconds=run.seconds,
        prompt=_short(prompt),
        figures=tuple(_figures(header.get("summary"))),
        inputs=tuple(inputs),
        error=error,
        words=" ".join(words).casefold(),
    )


def _mark(run: StoredRun) -> str:
    words = "-".join(word for word in (run.verb, run.method) if word)
    rest = run.name.removeprefix(f"{words}-") if words else run.name
    return one_line(rest)


def _input(role: str, about: Any) -> RunInput:
    known = about if isinstance(about, Mapping) else {}
    path, sha256 = known.get("path"), known.get("sha256")
    return RunInput(_short(role), "" if path is None else _short(path), sha256 if isinstance(sha256, str) else "")


def _short(value: Any) -> str:
    return one_line(str(value)[:LONGEST])


def _figures(summary: Any) -> list[tuple[str, str]]:
    """The first numbers of a summary with short names; times, sizes and long tables are left to the run's page."""
    if not isinstance(summary, Mapping):
        return []
    found = []
    for name, value in flattened(summary):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        short = len(name) <= LONGEST_NAME and name.count(".") < 2
        if number and short and not any(word in name for word in ("second", "_s", "bytes", "joules")):
            shown = f"{value:,}" if isinstance(value, int) else decimal(value, 3)
            found.append((one_line(name.replace("_", " ").replace(".", " ")), shown))
        if len(found) == FIGURES:
            break
    return found
