"""Atomic writes, free names and content hashes of files. Standard library only: every floor imports it."""

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from itertools import count
from pathlib import Path

from intaglio.errors import BadInput, IntaglioError

PACKAGE = Path(__file__).parent
"""Folder of the installed package, with the shipped models and presets."""

TEMPORARY = ".tmp-"
"""Prefix of the names of files being written; one that a killed process left may be deleted."""


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Turns a refusal of the disk (full, over quota, read-only, no permission) into one clear `IntaglioError`."""
    try:
        yield
    except IntaglioError:
        raise
    except Exception as error:
        if not (reason := _refusal(error)):
            raise
        raise IntaglioError(f"cannot write into {folder}: {reason}; what was stored before is intact") from error


def _refusal(error: Exception) -> str | None:
    # safetensors hides the operating system's error in a sentence of its own type.
    number = error.errno if isinstance(error, OSError) else None
    text = str(error)
    if number in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in text or "No space left" in text:
        return "the disk is full, free some space and run the same command again"
    if isinstance(error, OSError):
        return f"{error.strerror or error}, check the folder and run the same command again"
    return f"{text}, check the folder and run the same command again" if "os error" in text else None


def check_writable(folder: Path) -> None:
    """Makes the folder, writes a file into it and deletes it again. Raises `BadInput` where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInput(f"cannot write into {folder}: {error.strerror or error}; name another folder") from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; on success it is synced to disk and takes the place of `path`.

    A reader, or a process killed at any instant, sees the old file or the whole new one. On an error the temporary
    file is removed and `path` stays as it was. Missing folders are made. Raises `IntaglioError` where the disk refuses.
    """
    path = Path(path)
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        with writing_into(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def atomic_write(path: Path, data: bytes | str) -> None:
    """Writes `data` (text as UTF-8) so that `path` is never seen half written."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def atomic_folder(folder: Path, marker: str, holding: str = "model") -> Iterator[Path]:
    """Yields a new folder beside `folder`; on success its files are synced and it takes the place of `folder`.

    A reader, or a process killed at any instant, sees the old folder, none, or the whole new one. A folder that is
    there already is only replaced where it is empty or holds the file `marker`. Raises `BadInput` for another;
    `holding` names in the error what the folder was expected to hold.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / marker).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(
            f"{folder} exists and holds no {holding}; give another folder for the {holding}, or empty this one"
        )
    fresh, old = (folder.with_name(f"{TEMPORARY}{secrets.token_hex(8)}") for _ in range(2))
    try:
        with writing_into(folder.parent):
            fresh.mkdir(parents=True)
            yield fresh
            for path in fresh.rglob("*"):
                if path.is_file():
                    _sync(path)
            if folder.exists():
                folder.rename(old)
            fresh.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    # Windows cannot open a folder, and some network file systems cannot sync one; the rename holds all the same.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def free_path(path: Path) -> Path:
    """The path itself, or with -2, -3 and so on before its suffix: the first that does not exist."""
    candidates = (path if number == 1 else path.with_stem(f"{path.stem}-{number}") for number in count(1))
    return next(candidate for candidate in candidates if not candidate.exists())


def open_regular(path: Path) -> BufferedReader:
    """A regular file, opened for reading, links followed.

    Raises `BadInput` for a pipe or a device, which may never end, before a byte is read; and for a folder, a missing
    or an unreadable file.
    """
    try:
        # Opening a pipe without a writer would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error
    except ValueError:
        raise BadInput(f"{str(path)!r} is no path (it holds a NUL); check its spelling") from None
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    what = "folder" if stat.S_ISDIR(kind) else "pipe" if stat.S_ISFIFO(kind) else "device or socket"
    raise BadInput(f"{path} is a {what}, not a file; give a file, or copy what it holds into one")


def file_hash(path: Path) -> str:
    """SHA-256 of a regular file's content, 64 hex digits. Raises `BadInput` where it cannot be read."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_hash(path: Path) -> str:
    """SHA-256 over the sorted relative names and contents of all files below a folder; a file gives `file_hash`.

    Names that begin with a dot are left out (`.DS_Store`, `.git`), so a copied folder keeps its hash.
    """
    path = Path(path)
    if not path.is_dir():
        return file_hash(path)
    digest = hashlib.sha256()
    for name in sorted(_visible(path)):
        # A name holds no NUL and a hash has one length, so no two folders spell the same stream.
        digest.update(name.encode(errors="surrogateescape") + b"\0" + bytes.fromhex(file_hash(path / name)))
    return digest.hexdigest()


def _visible(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()
