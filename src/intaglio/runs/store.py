"""The runs of a folder, read from the `run.json` of each."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intaglio.errors import BadInput
from intaglio.runs.header import FILE, checked_header

OLD_INDEX = (".index.sqlite", ".index.sqlite-wal", ".index.sqlite-shm")
"""Files that earlier versions kept beside the runs to list them; nothing reads them any more."""

DAMAGED = "damaged"
"""Status of a folder whose `run.json` cannot be read."""


@dataclass(frozen=True)
class StoredRun:
    """One run, from its `run.json`."""

    folder: Path
    name: str
    """the folder's: a copy of a run is another one"""
    verb: str
    method: str
    status: str
    """unfinished, failed, done, or damaged: `run.json` cannot be read, and `error` in `header` says why"""
    started: str
    """date and time in UTC, ISO 8601"""
    finished: str | None
    """likewise; None while it is unfinished"""
    seconds: float
    """time worked, summed over resumptions"""
    header: Mapping[str, Any]
    """all of `run.json`"""


def list_runs(root: Path) -> list[StoredRun]:
    """All runs right below `root`, the newest start first; folders without a readable `run.json` are no runs.

    Raises `BadInput` where `root` is there and is no folder, or cannot be listed.
    """
    found = [run for run in _runs(root) if run.status != DAMAGED]
    return sorted(found, key=lambda run: (run.started, run.name), reverse=True)


def damaged_runs(root: Path) -> list[StoredRun]:
    """The folders right below `root` whose `run.json` cannot be read, by name. Raises `BadInput` as `list_runs`."""
    return sorted((run for run in _runs(root) if run.status == DAMAGED), key=lambda run: run.name)


def _runs(root: Path) -> list[StoredRun]:
    root, folders = Path(root), list[Path]()
    try:
        with suppress(FileNotFoundError):
            folders = list(root.iterdir())
    except NotADirectoryError:
        raise BadInput(f"{root} is a file; give the folder that holds the runs' folders") from None
    except OSError as error:
        raise BadInput(f"{root} cannot be listed ({error.strerror}); change its permissions") from None
    return [read_folder(folder) for folder in folders if _has_header(folder)]


def remove_old_index(root: Path) -> None:
    """Removes the index that earlier versions kept in a folder of runs."""
    for name in OLD_INDEX:
        with suppress(OSError):
            (Path(root) / name).unlink()


def find_run(root: Path, wanted: str | Path) -> StoredRun:
    """The run of this folder, name, or beginning of a name or of its ten digits.

    Raises `BadInput` where no run or more than one answers, or where that one is damaged.
    """
    given = Path(wanted)
    if str(wanted) and _has_header(given):
        return _stored(given, checked_header(given))
    if given.name != str(given) and given.name and given.is_dir():
        raise BadInput(f"{given} is not a run: it has no {FILE}; `intaglio runs` lists those there are")
    word = str(wanted)
    matches = runs_called(root, word)
    if len(matches) == 1:
        return _stored(matches[0].folder, checked_header(matches[0].folder))
    if matches:
        raise BadInput(f"{word!r} fits {len(matches)} runs ({_names(matches)}); give more of the name")
    runs = _runs(root)
    known = f"known are {_names(runs)}" if runs else "there are no runs yet"
    raise BadInput(f"no run in {root} is called {word!r}; {known}")


def runs_called(root: Path, word: str) -> list[StoredRun]:
    """The runs right below a folder, damaged ones last, that have this name, else of which it is a beginning."""
    return _called([*list_runs(root), *damaged_runs(root)], word) if word else []


def _called(runs: list[StoredRun], word: str) -> list[StoredRun]:
    """The runs whose folder has this name, else whose `run.json` has it, else of which it is a beginning."""
    recorded = {run.folder: str(run.header.get("name")) for run in runs}
    for exact in ([run for run in runs if run.name == word], [run for run in runs if recorded[run.folder] == word]):
        if exact:
            return exact
    return [run for run in runs if any(_begins(name, word) for name in (run.name, recorded[run.folder]))]


def _begins(name: str, word: str) -> bool:
    return name.startswith(word) or name.rpartition("-")[2].startswith(word)


def _names(runs: list[StoredRun]) -> str:
    return ", ".join(run.name for run in runs[:10]) + (f" and {len(runs) - 10} more" if len(runs) > 10 else "")


def _has_header(folder: Path) -> bool:
    return os.path.lexists(folder / FILE)


def read_folder(folder: Path) -> StoredRun:
    """The run of a folder; where its `run.json` cannot be read it is `DAMAGED`, so that it hides no other."""
    try:
        return _stored(folder, checked_header(folder))
    except BadInput as error:
        return _stored(folder, {"name": folder.name, "status": DAMAGED, "error": str(error)})


def _stored(folder: Path, header: Mapping[str, Any]) -> StoredRun:
    def word(key: str) -> str:
        return str(header.get(key) or "")

    seconds = header.get("seconds")
    return StoredRun(
        folder=folder,
        name=folder.name if folder.name not in ("", "..") else folder.resolve().name,
        verb=word("verb"),
        method=word("method"),
        status=word("status"),
        started=word("started"),
        finished=word("finished") or None,
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        header=header,
    )
