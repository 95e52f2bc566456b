"""`TableFile`: the file of a table, opened for each pass over it; a pipe is read once, into a temporary copy."""

import hashlib
import os
import select
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from intaglio.errors import BadInput
from intaglio.files import open_regular

LARGEST_PIPE = 4 * 2**30
"""Most bytes that are taken from a pipe, which may never end."""
WRITER_S = 10.0
"""Seconds that a pipe may stay without anything that writes into it."""
PIECE = 1 << 20
"""Bytes that are copied at a time."""


@dataclass(frozen=True)
class TableFile:
    """The file of a table."""

    path: Path
    """As the user named it, for messages and for its suffix."""
    copy: Path | None = None
    """Copy of what came through a pipe; None for a regular file."""
    sha256: str = ""
    """SHA-256 of the copy's content, 64 hexadecimal digits; empty for a regular file."""

    def open(self) -> BinaryIO:
        """The content, from its beginning. Raises `BadInput` where the file cannot be read."""
        return open_regular(self.copy or self.path)


@contextmanager
def table_file(path: Path) -> Iterator[TableFile]:
    """A regular file, or a copy of what a pipe gives, which is deleted afterwards.

    Raises `BadInput` for a folder, a device, a missing or unreadable file, and a pipe that nothing writes into.
    """
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        raise BadInput(f"{path} is a folder; give the file of the table in it")
    if not stat.S_ISFIFO(mode):
        yield TableFile(path)
        return
    with tempfile.TemporaryDirectory(prefix="intaglio-") as folder:
        copy = Path(folder) / "table"
        yield TableFile(path, copy, _copied(path, copy))


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError as error:
        raise BadInput(f"{path} is not there; check the path") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error
    except ValueError:
        raise BadInput(f"{str(path)!r} is no path (it holds a NUL); check its spelling") from None


def _copied(path: Path, copy: Path) -> str:
    """Copies what a pipe gives, and returns its SHA-256."""
    digest, size = hashlib.sha256(), 0
    try:
        # Opening a pipe without a writer would wait for ever.
        pipe = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); write the table into a file") from error
    try:
        with copy.open("wb") as file:
            for piece in _pieces(pipe, path):
                file.write(piece)
                digest.update(piece)
                size += len(piece)
                if size > LARGEST_PIPE:
                    raise BadInput(f"{path} gives more than {LARGEST_PIPE // 2**30} GB; write the table into a file")
    finally:
        os.close(pipe)
    return digest.hexdigest()


def _pieces(pipe: int, path: Path) -> Iterator[bytes]:
    written, began = False, time.monotonic()
    while True:
        try:
            piece = os.read(pipe, PIECE)
        except BlockingIOError:  # a writer has it open, and has nothing to say yet
            written = True
            select.select([pipe], [], [])
            continue
        if piece:
            written = True
            yield piece
        elif written:
            return
        elif time.monotonic() - began > WRITER_S:
            raise BadInput(f"{path} is a pipe that nothing writes into; start what writes, or give a file")
        else:
            time.sleep(0.01)
