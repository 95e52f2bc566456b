"""Listing of picture folders: files, captions, kohya's repeats, and warnings about other files."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from intaglio.errors import BadInput
from intaglio.images.decode import PICTURE_SUFFIXES

KOHYA_FOLDER = re.compile(r"(\d+)_.+")
CAPTIONS_FILE = "metadata.jsonl"


@dataclass(frozen=True)
class ListedPicture:
    """A picture file that was found and not yet opened."""

    path: Path
    name: str
    """Path below the folder that was listed."""
    caption: str | None = None
    repeats: int = 1
    """Occurrences in an epoch."""


@dataclass(frozen=True)
class Listing:
    """Pictures of a folder, in the order of their names."""

    source: str
    """Name of the folder in messages."""
    entries: tuple[ListedPicture, ...]
    problems: tuple[str, ...] = ()
    """Lines of a refusal, each with its remedy."""
    warnings: tuple[str, ...] = ()


def list_pictures(path: Path | Sequence[Path]) -> Listing:
    """Lists a folder, one file, or a list of files, without opening a picture. Raises `BadInput` where none is found.

    Names that begin with a dot are left out without a warning.
    """
    if not isinstance(path, (str, Path)):
        return _list_files([Path(file) for file in path])
    path = Path(path)
    if path.is_dir():
        return _list_folder(path)
    if not path.exists():
        raise BadInput(f"{path} does not exist; check the path to the pictures")
    return _list_files([path])


def _list_files(paths: list[Path]) -> Listing:
    if not paths:
        raise BadInput("the list of pictures is empty; name at least one file")
    problems: list[str] = []
    unique: dict[Path, Path] = {}
    for path in paths:
        if unique.setdefault(path.resolve(), path) is not path:
            problems.append(f"{path}: it is named twice; name it once")
    files = list(unique.values())
    names = [path.name for path in files]
    if len(set(names)) < len(names):
        names = [path.as_posix() for path in files]
    entries = [ListedPicture(path, name) for path, name in zip(files, names, strict=True)]
    captioned = [_captioned(entry, {}, problems) for entry in entries]
    source = str(paths[0].parent) if len({path.parent for path in paths}) == 1 else "the list"
    return Listing(source, _sorted(captioned), tuple(problems))


def _list_folder(folder: Path) -> Listing:
    problems: list[str] = []
    warnings: list[str] = []
    entries, foreign, unread = [], [], []
    repeats = {folder: 1}
    for child in _visible(folder):
        if child.is_dir():
            match = KOHYA_FOLDER.fullmatch(child.name)
            if match and int(match[1]):
                repeats[child] = int(match[1])
            elif match:
                warnings.append(f"{child.name} asks for 0 repeats, so its pictures are not read")
            elif any(file.suffix.lower() in PICTURE_SUFFIXES for file in _visible(child)):
                unread.append(child.name)
    for subfolder, count in repeats.items():
        found, others = _list_flat(subfolder, folder, count, problems)
        entries += found
        foreign += others
    if unread:
        warnings.append(f"pictures in subfolders are not read, unless named like 10_name: {', '.join(unread)}")
    if foreign:
        warnings.append(f"not pictures that can be read, and ignored: {', '.join(foreign)}")
    if not entries:
        hint = f" ({'; '.join(warnings)})" if warnings else ""
        raise BadInput(f"{folder} holds no PNG, JPEG, WebP, BMP, TIFF or GIF; give a folder of pictures{hint}")
    return Listing(str(folder), _sorted(entries), tuple(problems), tuple(warnings))


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError as error:
        raise BadInput(f"{folder} cannot be listed ({error.strerror}); change its permissions") from error


def _list_flat(folder: Path, root: Path, repeats: int, problems: list[str]) -> tuple[list[ListedPicture], list[str]]:
    """The pictures directly in one folder, and the names of files that are neither pictures nor their captions."""
    files = [child for child in _visible(folder) if not child.is_dir()]
    pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
    stems = {file.stem for file in pictures}
    known = {file for file in files if file.name == CAPTIONS_FILE or (file.suffix == ".txt" and file.stem in stems)}
    foreign = [file.relative_to(root).as_posix() for file in files if file not in known and file not in pictures]
    table = _metadata(folder / CAPTIONS_FILE, {file.name for file in pictures}, problems)
    entries = [ListedPicture(file, file.relative_to(root).as_posix(), repeats=repeats) for file in pictures]
    return [_captioned(entry, table, problems) for entry in entries], foreign


def _metadata(path: Path, pictures: set[str], problems: list[str]) -> dict[str, str | None]:
    """Captions by file name from lines such as `{"file_name": "a.png", "text": "a cat"}`."""
    if not path.is_file():
        return {}
    table: dict[str, str | None] = {}
    for number, line in enumerate(_text(path, problems).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, text = row["file_name"], row.get("text")
        except (ValueError, TypeError, KeyError, AttributeError):
            problems.append(f'{path.name}: line {number} is not like {{"file_name": "a.png", "text": "..."}}; mend it')
            continue
        if name not in pictures:
            problems.append(
                f"{path.name}: line {number} names {name!r}, which is not beside it; add it or drop the line"
            )
        elif text is not None and not isinstance(text, str):
            problems.append(f"{path.name}: line {number} has a text that is no string; put it in quotes")
        else:
            table[name] = text
    return table


def _captioned(entry: ListedPicture, table: dict[str, str | None], problems: list[str]) -> ListedPicture:
    path = entry.path.with_suffix(".txt")
    if path.is_file():
        return replace(entry, caption=_text(path, problems).strip())
    return replace(entry, caption=table.get(entry.path.name))


def _text(path: Path, problems: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problems.append(f"{path.name}: it is not UTF-8 text; save it as UTF-8")
    except OSError as error:
        problems.append(f"{path.name}: it cannot be read ({error.strerror}); change its permissions")
    return ""


def _sorted(entries: list[ListedPicture]) -> tuple[ListedPicture, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.name))
