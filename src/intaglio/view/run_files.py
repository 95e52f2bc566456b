"""Files of a run that the page gives out: regular ones inside the run's folder, and thumbnails of its pictures."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from intaglio.images.picture_file import open_picture
from intaglio.printable import is_text
from intaglio.report.kit.thumbnails import PIXEL_ART_SIDE, shrunk

NO_PICTURES = ("states", "records", "tensors", "metrics", "model")
"""Folders of a run that hold no pictures to show."""
GIVEN = {"data", "controls"}
"""Folders with pictures that a run was given."""
SEEN, SHOWN, COVER_STEPS = 5_000, 48, 60
"""Pictures that are looked for in a run and shown of a group, and folders opened for the one in the list, at most."""
THUMBNAIL_BYTES = 24_000
"""Bytes of a thumbnail, about."""


@dataclass(frozen=True)
class Thumbnail:
    """A small picture as it is sent."""

    data: bytes
    kind: str
    """png or webp"""
    size: tuple[int, int]
    """Width and height, pixels."""


@dataclass(frozen=True)
class PictureGroup:
    """The pictures of one folder of a run."""

    name: str
    """The folder, relative to the run's."""
    pictures: Sequence[str]
    """The first of them, as paths relative to the run's folder."""
    left: int
    """Pictures beyond these."""


def file_within(folder: Path, relative: str) -> Path | None:
    """A regular file of a run by its path below the run's folder; None for anything else.

    Hidden files, folders, pipes and devices are none, nor is a file that a link or `..` takes out of the folder.
    """
    if not relative or "\0" in relative or any(part.startswith(".") for part in relative.split("/")):
        return None
    try:
        home, found = folder.resolve(strict=True), (folder / relative).resolve(strict=True)
        return found if found.is_relative_to(home) and found.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


def is_png(path: Path) -> bool:
    """Whether a file's name says that it is a PNG, the one kind that is shown; others are handed out as downloads."""
    return path.suffix.lower() == ".png"


def in_address(relative: str) -> str:
    """A path below a run's folder as part of an address."""
    return quote(relative, safe="/")


def picture_groups(folder: Path) -> list[PictureGroup]:
    """The pictures of a run by folder, in the order of their numbers."""
    groups: dict[str, list[str]] = {}
    for count, (group, name) in enumerate(_pictures(folder)):
        if count == SEEN:
            break
        groups.setdefault(group, []).append(f"{group}/{name}" if group else name)
    found = []
    for group in sorted(groups, key=group_order):
        names = sorted(groups[group], key=in_order)
        found.append(PictureGroup(group, names[:SHOWN], len(names) - SHOWN if len(names) > SHOWN else 0))
    return found


def group_order(path: str) -> tuple[int, list[tuple[int, int, str]]]:
    """A key to sort pictures and their folders by: samples first, pictures that were given last, else by name."""
    parts = path.split("/")
    return (0 if any("sample" in part for part in parts) else 2 if set(parts) & GIVEN else 1, in_order(path))


def in_order(name: str) -> list[tuple[int, int, str]]:
    """A key to sort by in which numbers within names count as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def cover(folder: Path) -> str:
    """The picture that stands for a run in a list, as a path below its folder; empty where it has none.

    That is the last folder's first picture: where a run draws samples again and again, of the latest.
    """
    opened = 0
    waiting = ["images", "samples"]
    while waiting and opened < COVER_STEPS:
        relative, opened = waiting.pop(), opened + 1
        pictures, folders = _children(folder / relative)
        if pictures:
            return f"{relative}/{min(pictures, key=in_order)}"
        waiting += [f"{relative}/{name}" for name in sorted(folders, key=in_order)]
    return ""


def _children(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the pictures and of the folders in a folder; links are passed over."""
    pictures, folders = [], []
    try:
        with os.scandir(folder) as found:
            for child in found:
                if child.name.startswith(".") or not is_text(child.name):
                    continue
                if child.is_dir(follow_symlinks=False):
                    folders.append(child.name)
                elif child.is_file(follow_symlinks=False) and child.name.lower().endswith(".png"):
                    pictures.append(child.name)
    except OSError:
        pass
    return pictures, folders


def _pictures(folder: Path) -> Iterator[tuple[str, str]]:
    waiting = [""]
    while waiting:
        group = waiting.pop()
        pictures, folders = _children(folder / group)
        yield from ((group, name) for name in pictures)
        inner = [name for name in folders if group or name not in NO_PICTURES]
        waiting += [f"{group}/{name}" if group else name for name in inner]


def thumbnail(path: Path) -> Thumbnail | None:
    """A small version of a picture; None where it cannot be read."""
    try:
        about = path.stat()
    except OSError:
        return None
    return _thumbnail(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=2_000)
def _thumbnail(path: Path, written: int, size: int) -> Thumbnail | None:
    try:
        with open_picture(path) as opened:
            image = opened.convert("RGB")
        return Thumbnail(*shrunk(image, THUMBNAIL_BYTES))
    except Exception:  # parsers of damaged files fail in every way there is
        return None


def is_pixel_art(size: tuple[int, int]) -> bool:
    """Whether a picture is drawn with hard pixel edges."""
    return max(size) <= PIXEL_ART_SIDE


def downloads(folder: Path, results: object) -> Mapping[str, int]:
    """Bytes of the files that a run's `run.json` lists as its results, by path below the folder; at most a hundred.

    Pictures are left out: the page shows them.
    """
    listed = results if isinstance(results, list) else []
    names = [name for name in listed if isinstance(name, str) and not is_png(Path(name))]
    found = {}
    for name in names[:100]:
        if is_text(name) and (path := file_within(folder, name)) is not None:
            found[name] = path.stat().st_size
    return found
