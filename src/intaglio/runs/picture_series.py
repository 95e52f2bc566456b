"""`PictureSeries`: pictures that one command writes into a folder of the user's, taken up where a kill left them."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from intaglio.errors import IntaglioError
from intaglio.files import atomic_write, free_path, writing_into
from intaglio.runs import rows
from intaglio.runs.plain_json import to_json

JOURNAL = "pictures.jsonl"
"""File in the hidden folder that says which picture has which name, and which are written."""


class PictureSeries:
    """A context manager; while it is open, no other process writes the same series into the same folder.

    A hidden folder beside the pictures holds the lock, the journal and what is being written. It goes when all
    pictures are there; after a kill, an interruption or a full disk it stays, and the same command finds it.

    Args:
        folder: for the pictures; nothing in it is overwritten.
        key: sha256 of all that the pictures depend on.
        names: the name that each picture is to have, where it is free.
    """

    def __init__(self, folder: Path, key: str, names: Sequence[str]):
        self._folder, self._names = Path(folder), names
        self._work = self._folder / f".unfinished-{key[:16]}"
        self._reserved: dict[int, str] = {}
        self._saved: dict[int, str] = {}

    def __enter__(self) -> "PictureSeries":
        with writing_into(self._folder):
            self._work.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._work / ".lock", thread_local=False)
        try:
            self._lock.acquire(blocking=False)
        except (Timeout, RuntimeError) as error:
            raise IntaglioError(
                f"another process is drawing these very pictures into {self._folder}; wait for it or stop it"
            ) from error
        for leftover in self._work.glob(".tmp*"):
            leftover.unlink(missing_ok=True)
        for row in rows.read(self._work / JOURNAL):
            self._recall(row)
        return self

    def __exit__(self, *error: object) -> None:
        complete = len(self._saved) == len(self._names)
        self._lock.release()
        if complete:
            shutil.rmtree(self._work, ignore_errors=True)

    def __contains__(self, index: int) -> bool:
        """Whether this picture was written and is still there."""
        return index in self._saved

    def __len__(self) -> int:
        """The number of pictures that are there."""
        return len(self._saved)

    @property
    def written(self) -> list[str]:
        """The names that the pictures have, of those that are there, in their order."""
        return [self._saved[index] for index in sorted(self._saved)]

    def save(self, index: int, png: bytes) -> Path:
        """Writes one picture under its name, or with -2, -3 and so on where that is taken; returns its path."""
        path = self._place(index, png)
        if not path.exists():
            fresh = self._work / f".tmp-{index}"
            atomic_write(fresh, png)
            with writing_into(self._folder):
                fresh.replace(path)
        self._note({"index": index, "saved": path.name})
        self._saved[index] = path.name
        return path

    def _place(self, index: int, png: bytes) -> Path:
        """The path reserved for a picture, unless another command has taken it meanwhile."""
        if (name := self._reserved.get(index)) is not None:
            path = self._folder / name
            if not path.exists() or _digest(path.read_bytes()) == _digest(png):
                return path
        path = free_path(self._folder / self._names[index])
        # Before the picture: a kill between the two leaves a name, and never a second copy.
        self._note({"index": index, "name": path.name})
        return path

    def _note(self, row: dict[str, Any]) -> None:
        rows.append(self._work / JOURNAL, to_json(row))

    def _recall(self, row: dict[str, Any]) -> None:
        index, reserved, saved = row.get("index"), row.get("name"), row.get("saved")
        if not isinstance(index, int) or not 0 <= index < len(self._names):
            return
        if isinstance(reserved, str) and Path(reserved).name == reserved:
            self._reserved[index] = reserved
        if isinstance(saved, str) and Path(saved).name == saved and (self._folder / saved).is_file():
            self._saved[index] = saved


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
