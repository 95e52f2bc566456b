"""The runs of a folder. The folders are the truth; the SQLite file beside them is a cache that may be deleted."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intaglio.errors import BadInput
from intaglio.runs.header import FILE, read_header

INDEX = ".index.sqlite"
TABLE = "create table if not exists runs (folder text primary key, stamp text not null, header text)"
TRUSTED_TABLE = "select folder, stamp, header from runs"


@dataclass(frozen=True)
class StoredRun:
    """One run as its `run.json` tells; `header` has all of it."""

    folder: Path
    name: str
    verb: str
    method: str
    status: str
    """unfinished, failed or done"""
    started: str
    finished: str | None
    seconds: float
    header: Mapping[str, Any]


def list_runs(root: Path) -> list[StoredRun]:
    """All runs right below `root`, the newest start first; folders without a readable `run.json` are no runs.

    Only folders that changed since the last listing are read. Where the index cannot be used (damaged, read-only
    place, network disk), the folders are read instead and the result is the same.
    """
    stamps = _stamps(Path(root))
    headers = _indexed(Path(root), stamps)
    found = [_stored(Path(root) / name, header) for name, header in headers.items() if header is not None]
    return sorted(found, key=lambda run: (run.started, run.name), reverse=True)


def reindex(root: Path) -> int:
    """Writes the index anew from the folders; returns the number of runs."""
    _discard(Path(root))
    return len(list_runs(root))


def find_run(root: Path, wanted: str | Path) -> StoredRun:
    """The run of this folder, name, or beginning of a name or of its ten digits.

    Raises `BadInput` where no run or more than one answers.
    """
    given = Path(wanted)
    if (header := read_header(given)) is not None:
        return _stored(given, header)
    runs, word = list_runs(root), str(wanted)
    exact = [run for run in runs if run.name == word or run.folder.name == word]
    near = [run for run in runs if run.name.startswith(word) or run.name.rpartition("-")[2].startswith(word)]
    matches = exact or (near if word else [])
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise BadInput(f"{word!r} fits {len(matches)} runs ({_names(matches)}); give more of the name")
    known = f"known are {_names(runs)}" if runs else "there are no runs yet"
    raise BadInput(f"no run in {root} is called {word!r}; {known}")


def _names(runs: list[StoredRun]) -> str:
    return ", ".join(run.name for run in runs[:10]) + (f" and {len(runs) - 10} more" if len(runs) > 10 else "")


def _stored(folder: Path, header: Mapping[str, Any]) -> StoredRun:
    def word(key: str) -> str:
        return str(header.get(key) or "")

    seconds = header.get("seconds")
    return StoredRun(
        folder=folder,
        name=word("name"),
        verb=word("verb"),
        method=word("method"),
        status=word("status"),
        started=word("started"),
        finished=word("finished") or None,
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        header=header,
    )


def _stamps(root: Path) -> dict[str, str]:
    """Every subfolder with a `run.json`, and what changes whenever that file is replaced."""
    stamps = {}
    with suppress(FileNotFoundError, NotADirectoryError):
        for child in root.iterdir():
            with suppress(OSError):
                about = (child / FILE).stat()
                stamps[child.name] = f"{about.st_mtime_ns} {about.st_size} {about.st_ino}"
    return stamps


def _indexed(root: Path, stamps: Mapping[str, str]) -> dict[str, dict[str, Any] | None]:
    if not stamps:
        return {}
    try:
        return _refreshed(root, stamps)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # locked, read-only, no space: not a reason to delete it
            return {name: read_header(root / name) for name in stamps}
    except ValueError:
        pass
    _discard(root)
    try:
        return _refreshed(root, stamps)
    except (sqlite3.Error, ValueError):
        return {name: read_header(root / name) for name in stamps}


def _refreshed(root: Path, stamps: Mapping[str, str]) -> dict[str, dict[str, Any] | None]:
    with closing(sqlite3.connect(root / INDEX, timeout=2)) as index:
        index.execute("pragma journal_mode=wal")
        index.execute(TABLE)
        known = {name: (stamp, header) for name, stamp, header in index.execute(TRUSTED_TABLE)}
        stale = [name for name, stamp in stamps.items() if known.get(name, ("",))[0] != stamp]
        fresh = {name: read_header(root / name) for name in stale}
        gone = [(name,) for name in known.keys() - stamps.keys()]
        if fresh or gone:
            with index:
                index.executemany("delete from runs where folder = ?", gone)
                lines = [(name, stamps[name], json.dumps(header)) for name, header in fresh.items()]
                index.executemany("insert or replace into runs values (?, ?, ?)", lines)
    return {name: fresh[name] if name in fresh else json.loads(known[name][1]) for name in stamps}


def _discard(root: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        with suppress(OSError):
            (root / f"{INDEX}{ending}").unlink(missing_ok=True)
