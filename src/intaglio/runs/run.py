"""Runs: one piece of work in a folder, with its states, records, logs and pictures, resumed after any end."""

import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from jaxtyping import Float
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.errors import BadInput, IntaglioError
from intaglio.files import TEMPORARY, atomic_write, writing_into
from intaglio.images.image_set import save_png
from intaglio.runs import header, rows
from intaglio.runs.kept_results import clear_rest, listed_files, lost_result
from intaglio.runs.metering import RunEnergy
from intaglio.runs.plain_json import safe_path, to_json, unique
from intaglio.runs.progress import Progress, Show, showing, tell
from intaglio.runs.tensors import StateValues, read_state, write_state, write_tensors

LOCK = ".lock"
"""File that is locked while a process works on a run."""
HEADER_EVERY_S = 2.0
"""A killed run forgets at most this much of its `seconds`, besides the time since its last state or record."""


class Run:
    """A run's folder, or nothing at all (`Run.none()`), with one set of calls for methods.

    Everything is stored so that a process killed at any instant leaves only whole files. Where the disk refuses, every
    call that stores raises one `IntaglioError` naming the folder, and what was stored before stays readable. Pictures
    and records come before the state that says they are made: a kill may fall between any two calls.

    A context manager: on an interruption the run stays `unfinished`, on an error it is stored as `failed` with the
    error's sentence; both are found and continued by the same command. Leaving it, or `finish`, frees the folder.
    """

    folder: Path | None
    """None: the null run, which stores nothing and remembers nothing, so that it can be a shared default."""
    status: Literal["new", "unfinished", "done"]
    """as found at the opening, then "done" once finished"""

    def __init__(self, folder: Path | None, about: dict[str, Any], status: Any, lock: FileLock | None, show: Show):
        self.folder, self.status = folder, status
        self._about, self._lock = about, lock
        self._show: Show = show
        self._began = self._written = time.monotonic()
        self._before = float(about.get("seconds", 0))
        self._saved: dict[str, float] = {}
        self._energy: RunEnergy | None = None

    @classmethod
    def none(cls, *, progress: Show = "none") -> "Run":
        """The null run, for the result alone: states and records are dropped, warnings are logged."""
        return NullRun(None, {}, "new", None, progress)

    @classmethod
    def open(
        cls,
        root: Path,
        verb: str,
        method: str,
        settings: Mapping,
        inputs: Mapping[str, Mapping],
        *,
        seed: int | None,
        device: str,
        command: Sequence[str],
        progress: Show = "auto",
    ) -> "Run":
        """Finds or makes the folder `<root>/<verb>-<method>-<10 hex>` of these settings, input contents and seed.

        `inputs` maps a role to at least `path` and `sha256`; only the hash counts for the name. An unfinished run is
        locked for this process until it ends, however it ends. Raises `IntaglioError` where another process works on
        the run, or the disk refuses.
        """
        name = header.run_name(verb, method, settings, inputs, seed)
        folder = Path(root) / name
        _check_resumed(folder)
        with writing_into(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = _locked(folder)
        if (opened := _opened.get()) is not None:
            opened.append(folder)
        found, lost = _header_of(folder, lock, {"name": name, "verb": verb, "method": method}), None
        _sweep(folder)
        if found is not None and found.get("status") == "done":
            lost = lost_result(folder, found)
            if lost is None:
                lock.release()
                return cls(folder, found, "done", None, progress)
        fresh = {"seed": seed, "device": device, "command": command}
        about = found or header.new_header(name, verb, method, settings, inputs, **fresh)
        run = cls(folder, about, "new" if found is None else "unfinished", lock, progress)
        run._energy = RunEnergy(device, about)
        if found is not None:
            run._resumed(device, command)
            if lost is not None:
                run.warn(f"{lost} is missing from this finished run, so its work is done again")
                clear_rest(folder, lost)
        elif any(child.name != LOCK for child in folder.iterdir()):
            run.status = "unfinished"
            run.warn(f"{header.FILE} was missing or damaged and is written anew; the stored work is kept")
        run._store_header()
        return run

    def _resumed(self, device: str, command: Sequence[str]) -> None:
        again = {"status": "unfinished", "error": None, "command": list(command), "cwd": str(Path.cwd())}
        self._about |= {**again, "resumed": int(self._about.get("resumed", 0)) + 1}
        if (sentence := header.changed(self._about, device)) is not None:
            self.warn(sentence)

    @property
    def name(self) -> str:
        """The folder's name; empty for the null run."""
        return self._about.get("name", "")

    @property
    def summary(self) -> dict[str, Any]:
        """The summary that `finish` stored; empty before."""
        return dict(self._about.get("summary") or {})

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each warning once, in the order of their first appearance."""
        return tuple(self._about.get("warnings") or ())

    @property
    def seconds(self) -> float:
        """Time worked, summed over resumptions."""
        return self._before + (time.monotonic() - self._began if self.status != "done" else 0)

    def progress(self, total: int, label: str, done: int = 0) -> AbstractContextManager[Progress]:
        """Shows `label` at `done` of `total`; the value of the `with` block has `advance(n=1, **numbers)`."""
        return showing(total, label, done, self._show)

    def save_state(self, name: str, tensors: Mapping[str, Tensor], meta: Mapping, every_s: float | int = 0) -> None:
        """Stores a state of the work, in place of the last one of this name, at most every `every_s` seconds."""
        now = time.monotonic()
        if every_s and now - self._saved.get(name, float("-inf")) < every_s:
            return
        write_state(self._state(name), tensors, meta)
        self._saved[name] = time.monotonic()
        self._store_header(every_s=HEADER_EVERY_S)

    def load_state(self, name: str) -> tuple[StateValues, StateValues] | None:
        """Tensors on the CPU, and the plain values; None where no such state was saved."""
        return read_state(self._state(name))

    def drop_state(self, name: str) -> None:
        """Deletes a state that is no longer needed; one that does not exist is no error."""
        with writing_into(self._folder):
            self._state(name).unlink(missing_ok=True)

    def record(self, kind: str, key: str, value: Mapping) -> None:
        """Stores one result in a file of its own as soon as it is known, in place of an earlier one of this key."""
        path = self._folder / "records" / safe_path(kind) / f"{unique(key)}.json"
        atomic_write(path, to_json({"key": key, "value": value}))
        self._store_header(every_s=HEADER_EVERY_S)

    def recorded(self, kind: str) -> dict[str, dict]:
        """The results of a kind by key, sorted; one that cannot be read is left out with a warning."""
        found = {}
        for path in (self._folder / "records" / safe_path(kind)).glob("*.json"):
            try:
                row = Fields.read(path, constants=True)
                found[row.text("key")] = dict(row.table("value").values)
            except BadInput:
                self.warn(f"the record {path.name} of {kind} is damaged and its work is done again")
        return dict(sorted(found.items()))

    def log(self, stream: str, step: int, **numbers: float | int) -> None:
        """Appends a row of numbers to `metrics/<stream>.jsonl`."""
        rows.append(self._stream(stream), to_json({"step": step, **numbers}))

    def logged(self, stream: str) -> list[dict[str, Any]]:
        """The rows of a stream, each with its `step`."""
        return rows.read(self._stream(stream))

    def rewind(self, stream: str, step: int) -> None:
        """Drops the rows past `step`, which a resumed run is about to write again."""
        rows.rewind(self._stream(stream), step)

    def save_image(self, name: str, pixels: Float[Tensor, "3 h w"], text: Mapping = {}) -> str:
        """Stores a picture in [0, 1] with `text` in its chunks; returns its path below the folder.

        That is `images/<name>.png`, with `/` for subfolders, and unusual letters spelt plainly.
        """
        relative = f"images/{safe_path(name)}.png"
        save_png(pixels, self._folder / relative, {str(key): str(value) for key, value in text.items()})
        return relative

    def save_tensors(self, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
        """Stores a result as `tensors/<name>.safetensors`; returns its path below the folder."""
        relative = f"tensors/{safe_path(name)}.safetensors"
        words = {key: value if isinstance(value, str) else to_json(value) for key, value in metadata.items()}
        write_tensors(self._folder / relative, tensors, words)
        return relative

    def planned(self, seconds: float) -> None:
        """Stores how long the work was planned to take, beside how long it takes."""
        self._about["planned_seconds"] = round(seconds, 3)
        self._store_header()

    def warn(self, message: str) -> None:
        """Stores and shows a sentence that the user should know, once."""
        if message not in self.warnings:
            self._about["warnings"] = [*self.warnings, message]
            tell("warning", message, self._show)
            self._store_header()

    def finish(self, summary: Mapping, results: Sequence[str] = ()) -> None:
        """Marks the work as done, with a summary of its results, and frees the folder.

        `results` are the files and folders, relative to the run's folder, without which the work is not done: where one
        of their files is gone, the same command does the work again.
        """
        self._about |= {"summary": json.loads(to_json(summary)), "finished": header.now(), "error": None}
        self._about |= {"status": "done", "results": listed_files(self._folder, results)}
        self._store_header()
        self._before, self.status = self._about["seconds"], "done"
        self.close()

    def close(self) -> None:
        """Frees the folder for other processes; the run can be opened again."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._energy is not None:
            self._energy.close()
            self._energy = None

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is not None and self.status != "done":
            self._about |= _outcome(error)
        # A full disk must not hide the error that ended the work.
        with suppress(IntaglioError):
            self._store_header()
        self.close()

    @property
    def _folder(self) -> Path:
        if self.folder is None:
            raise TypeError("the null run has no folder")
        return self.folder

    def _state(self, name: str) -> Path:
        return self._folder / "states" / f"{safe_path(name)}.safetensors"

    def _stream(self, name: str) -> Path:
        return self._folder / "metrics" / f"{safe_path(name)}.jsonl"

    def _store_header(self, every_s: float | int = 0) -> None:
        if self._lock is None or (every_s and time.monotonic() - self._written < every_s):
            return
        self._about["seconds"] = round(self.seconds, 3)
        if self._energy is not None:
            self._about |= self._energy.fields()
        header.write_header(self._folder, self._about)
        self._written = time.monotonic()


class NullRun(Run):
    """Accepts every call and keeps nothing: a default argument is one object for all calls."""

    def save_state(self, name: str, tensors: Mapping[str, Tensor], meta: Mapping, every_s: float | int = 0) -> None:
        pass

    def load_state(self, name: str) -> None:
        return None

    def drop_state(self, name: str) -> None:
        pass

    def record(self, kind: str, key: str, value: Mapping) -> None:
        pass

    def recorded(self, kind: str) -> dict[str, dict]:
        return {}

    def log(self, stream: str, step: int, **numbers: float | int) -> None:
        pass

    def logged(self, stream: str) -> list[dict[str, Any]]:
        return []

    def rewind(self, stream: str, step: int) -> None:
        pass

    def save_image(self, name: str, pixels: Float[Tensor, "3 h w"], text: Mapping = {}) -> str:
        return f"images/{safe_path(name)}.png"

    def save_tensors(self, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
        return f"tensors/{safe_path(name)}.safetensors"

    def planned(self, seconds: float) -> None:
        pass

    def warn(self, message: str) -> None:
        logging.getLogger("intaglio").warning(message)

    def finish(self, summary: Mapping, results: Sequence[str] = ()) -> None:
        pass


_opened: ContextVar[list[Path] | None] = ContextVar("opened", default=None)


@contextmanager
def listing_opened() -> Iterator[list[Path]]:
    """A list that, within the block, takes the folder of every run that is opened, in their order."""
    folders: list[Path] = []
    token = _opened.set(folders)
    try:
        yield folders
    finally:
        _opened.reset(token)


_resumed: ContextVar[Path | None] = ContextVar("resumed", default=None)


@contextmanager
def resuming(folder: Path) -> Iterator[None]:
    """Within the block, the first run that is opened must be the one in this folder; another raises `BadInput`."""
    token = _resumed.set(Path(folder))
    try:
        yield
    finally:
        _resumed.reset(token)


def _check_resumed(folder: Path) -> None:
    asked = _resumed.get()
    _resumed.set(None)  # further runs are that run's own affair
    if asked is None:
        return
    if folder.resolve() != asked.resolve():
        raise BadInput(
            f"the command of {asked} makes another run, {folder.name}: its inputs, its settings or the folder's name "
            "have changed since; type the command to begin that run"
        )
    for path in asked.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(asked.resolve()):
            raise BadInput(f"{path} leads out of the run's folder, so the run is not resumed; replace the link")


def _header_of(folder: Path, lock: FileLock, own: Mapping[str, str]) -> dict[str, Any] | None:
    """`run.json` of a locked folder, with the name, verb and method that are its own whatever it says.

    None where there is none that can be read. Raises `BadInput` for one of a newer version.
    """
    try:
        found = header.read_header(folder)
    except BadInput:
        lock.release()
        raise
    return None if found is None else {**found, **own}


def _locked(folder: Path) -> FileLock:
    """Takes the folder for this process; the system frees it when the process dies, however it dies."""
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except (Timeout, RuntimeError) as error:
        raise IntaglioError(
            f"another process is working on {folder}; wait for it or stop it, then run again"
        ) from error
    return lock


def _sweep(folder: Path) -> None:
    """Removes what a killed process was writing; only the holder of the lock may."""
    # Without the dash too: safetensors writes through temporary files of its own, called .tmp and six letters.
    for path in list(folder.rglob(f"{TEMPORARY.rstrip('-')}*")):
        with suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _outcome(error: BaseException) -> dict[str, Any]:
    if isinstance(error, Exception):
        sentence = str(error) if isinstance(error, IntaglioError) else f"{type(error).__name__}: {error}"
        return {"status": "failed", "error": sentence}
    return {"status": "unfinished", "error": "interrupted"}
