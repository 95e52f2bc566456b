"""JSON lines appended to a file that a killed process may have left with half a line."""

import json
from pathlib import Path
from typing import Any

from intaglio.data_files import parse_json, read_bytes
from intaglio.errors import BadInput
from intaglio.files import atomic_write, writing_into

LARGEST = 2**32
"""Bytes of the largest file of rows that is read."""


def append(path: Path, line: str) -> None:
    """Adds one line in one write, after cutting off a torn last line. Raises `IntaglioError` where the disk refuses."""
    with writing_into(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            _mend(file)
            data = line.encode() + b"\n"
            while data:
                data = data[file.write(data) :]


def _mend(file: Any) -> None:
    end = file.seek(0, 2)
    if not end:
        return
    file.seek(end - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.seek(0, 2)


def read(path: Path) -> list[dict[str, Any]]:
    """The whole rows, in order; a torn or damaged line is passed over, since a resumed run writes it again."""
    if not path.exists():
        return []
    rows = []
    for line in read_bytes(path, LARGEST).split(b"\n")[:-1]:
        try:
            row = parse_json(line, str(path), constants=True)
        except BadInput:
            continue
        if isinstance(row, dict) and isinstance(row.get("step", 0), int):
            rows.append(row)
    return rows


def rewind(path: Path, step: int) -> None:
    """Keeps the rows up to and with `step`."""
    if not path.is_file():
        return
    kept = [json.dumps(row) + "\n" for row in read(path) if row.get("step", step) <= step]
    atomic_write(path, "".join(kept))
