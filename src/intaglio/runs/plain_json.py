"""Values as JSON, and keys as file names that every file system takes."""

import dataclasses
import enum
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. +=,@()-]{0,118}[A-Za-z0-9_)]|[A-Za-z0-9_]")
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def to_json(value: Any, *, indent: int | None = None, sort: bool = False) -> str:
    """JSON of settings and results: paths, dataclasses, sets, enums, arrays and tensors become what they hold.

    NaN and infinities are written as Python's `json` reads them again.
    """
    return json.dumps(value, default=_plain, indent=indent, sort_keys=sort)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if callable(listed := getattr(value, "tolist", None)):  # arrays, tensors, and numpy's numbers
        return listed()
    if isinstance(value, PurePath) or type(value).__module__ == "torch":
        return str(value)
    raise TypeError(f"a run cannot store a {type(value).__name__}; give plain values")


def digest(value: Any) -> str:
    """sha256 of the JSON of a value, whatever the order of its keys."""
    return hashlib.sha256(to_json(value, sort=True).encode()).hexdigest()


def safe_path(name: str) -> str:
    """A name, with `/` for subfolders, as a relative path; unusual parts are spelt plainly and given a hash."""
    parts = [
        part if SAFE.fullmatch(part) and not RESERVED.fullmatch(part) else unique(part) for part in name.split("/")
    ]
    return "/".join(parts)


def unique(key: str) -> str:
    """A file name that no other key has, also where capitals do not count: the key in plain letters, and its hash."""
    letters = re.sub(r"[^A-Za-z0-9_-]+", "_", key).strip("_")[:60]
    mark = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:10]
    return f"{letters}-{mark}" if letters else mark
