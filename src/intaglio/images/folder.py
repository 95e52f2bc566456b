"""Listing of picture folders: files, captions, kohya's repeats, and warnings about other files."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from intaglio.errors import BadInput
from intaglio.images.captions import CAPTION_SUFFIXES, CAPTIONS_FILE, TABLES, Captions, caption_files
from intaglio.images.decode import PICTURE_SUFFIXES
from intaglio.printable import one_line

KOHYA_FOLDER = re.compile(r"([0-9]+)_.+")
MOST_REPEATS = 100_000
"""Largest number of repeats that a folder's name may ask for."""


@dataclass(frozen=True)
class ListedPicture:
    """A picture file that was found and not yet opened."""

    path: Path
    name: str
    """Path below the folder that was listed, unique, with what cannot be shown spelt out."""
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
    names = [one_line(path.name) for path in files]
    if len(set(names)) < len(names):
        names = [one_line(path.as_posix()) for path in files]
    captions = Captions()
    texts = [caption_files(_beside(path)).get(path.with_suffix(".txt").name) for path in files]
    entries = [
        ListedPicture(path, name, captions.of(path, text)) for path, name, text in zip(files, names, texts, strict=True)
    ]
    source = str(paths[0].parent) if len({path.parent for path in paths}) == 1 else "the list"
    return Listing(source, _sorted(entries), (*problems, *captions.problems))


def _beside(path: Path) -> list[Path]:
    """The files that may be the caption of one file."""
    suffixes = dict.fromkeys(form for suffix in CAPTION_SUFFIXES for form in (suffix, suffix.upper()))
    return [file for suffix in suffixes if (file := path.with_suffix(suffix)).exists()]


def _list_folder(folder: Path) -> Listing:
    problems: list[str] = []
    warnings: list[str] = []
    entries, foreign = [], []
    repeats = {folder: 1} | _repeats(folder, problems, warnings)
    for subfolder, count in repeats.items():
        found, others = _list_flat(subfolder, folder, count, problems, warnings)
        entries += found
        foreign += others
    if foreign:
        warnings.append(f"not pictures that can be read, and ignored: {', '.join(foreign)}")
    if not entries and not problems:
        hint = f" ({'; '.join(warnings)})" if warnings else ""
        raise BadInput(f"{folder} holds no PNG, JPEG, WebP, BMP, TIFF or GIF; give a folder of pictures{hint}")
    return Listing(str(folder), _sorted(_with_unique_names(entries, problems)), tuple(problems), tuple(warnings))


def _repeats(folder: Path, problems: list[str], warnings: list[str]) -> dict[Path, int]:
    """The subfolders named like kohya's `10_name`, each with its repeats."""
    repeats, unread = {}, []
    for child in _visible(folder):
        if not child.is_dir():
            continue
        name, match = one_line(child.name), KOHYA_FOLDER.fullmatch(child.name)
        if match and int(match[1]) > MOST_REPEATS:
            problems.append(f"{name} asks for {match[1]} repeats, where {MOST_REPEATS:,} are the most; rename it")
        elif match and int(match[1]):
            repeats[child] = int(match[1])
        elif match:
            warnings.append(f"{name} asks for 0 repeats, so its pictures are not read")
        elif any(file.suffix.lower() in PICTURE_SUFFIXES for file in _visible(child)):
            unread.append(name)
    if unread:
        warnings.append(f"pictures in subfolders are not read, unless named like 10_name: {', '.join(unread)}")
    return repeats


def _with_unique_names(entries: list[ListedPicture], problems: list[str]) -> list[ListedPicture]:
    """The entries; where two names are spelt alike once they can be shown, the second is refused."""
    kept: dict[str, ListedPicture] = {}
    for entry in entries:
        if kept.setdefault(entry.name, entry) is not entry:
            problems.append(f"{entry.name}: the names of two files are shown like this; rename one")
    return list(kept.values())


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError as error:
        raise BadInput(f"{folder} cannot be listed ({error.strerror}); change its permissions") from error


def _list_flat(
    folder: Path, root: Path, repeats: int, problems: list[str], warnings: list[str]
) -> tuple[list[ListedPicture], list[str]]:
    """The pictures directly in one folder, and the names of files that are neither pictures nor their captions."""
    files = [child for child in _visible(folder) if not child.is_dir()]
    pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
    by_name = caption_files(files)
    texts = {picture: by_name.get(picture.with_suffix(".txt").name) for picture in pictures}
    captions = Captions.of_folder(folder, pictures, [picture for picture, text in texts.items() if text is not None])
    entries = [
        ListedPicture(picture, one_line(picture.relative_to(root).as_posix()), captions.of(picture, text), repeats)
        for picture, text in texts.items()
    ]
    known = {*pictures, *texts.values(), folder / CAPTIONS_FILE, *(folder / name for name in TABLES)}
    problems += captions.problems
    warnings += captions.said()
    for table in (file for file in files if file.name in TABLES):
        name = one_line(table.relative_to(root).as_posix())
        warnings.append(f"{name} looks like captions and is not read; write {CAPTIONS_FILE}, or a text file each")
    return entries, [one_line(file.relative_to(root).as_posix()) for file in files if file not in known]


def _sorted(entries: list[ListedPicture]) -> tuple[ListedPicture, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.name))
