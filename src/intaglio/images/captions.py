"""Captions of pictures: a text file beside each, or lines of `metadata.jsonl`; names compared as people read them."""

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeVar

from intaglio.data_files import parse_json, read_text, repeated_keys
from intaglio.errors import BadInput
from intaglio.printable import is_text, one_line

V = TypeVar("V")

CAPTIONS_FILE = "metadata.jsonl"
CAPTION_SUFFIXES = (".txt", ".caption")
"""Suffixes of the text file beside a picture, in whatever case; the second is kohya's. `.txt` itself comes first."""
TABLES = ("metadata.csv", "metadata.parquet")
"""Names under which other loaders read captions, and which are not read here."""
LONGEST_CAPTION = 2**16
"""Bytes of the longest caption: text encoders read some hundred words, and take a minute to cut up megabytes."""


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): what one system writes as `é`, another writes as `e` and an accent."""
    return unicodedata.normalize("NFC", name)


class ByName(Generic[V]):
    """Values by file name; a name in another Unicode form finds the same value, where it is the only one."""

    def __init__(self, values: Mapping[str, V]):
        self._values = values
        self._composed = {composed(name): value for name, value in values.items()}

    def get(self, name: str) -> V | None:
        """The value of a name, None where there is none."""
        return self._values[name] if name in self._values else self._composed.get(composed(name))


def caption_files(files: Iterable[Path]) -> ByName[Path]:
    """The caption files among these, by their name with `.txt`; of several for one picture the first suffix counts."""
    found: dict[str, Path] = {}
    for file in sorted((file for file in files if file.suffix.lower() in CAPTION_SUFFIXES), key=_order):
        found.setdefault(file.with_suffix(".txt").name, file)
    return ByName(found)


def _order(file: Path) -> tuple[int, bool, str]:
    """`.txt` before other spellings of it, and these before `.caption`."""
    return CAPTION_SUFFIXES.index(file.suffix.lower()), file.suffix not in CAPTION_SUFFIXES, file.name


@dataclass
class Captions:
    """The captions of one folder, with what is wrong in its files."""

    table: Mapping[str, str | None] = field(default_factory=dict)
    """Of `metadata.jsonl`, by file name."""
    problems: list[str] = field(default_factory=list)
    """Lines of a refusal, each with its remedy."""
    warnings: list[str] = field(default_factory=list)
    outvoted: list[str] = field(default_factory=list)
    """Pictures whose text file says otherwise than their line, as they are shown."""

    @classmethod
    def of_folder(cls, folder: Path, pictures: Sequence[Path], with_text: Collection[Path] = ()) -> "Captions":
        """The captions in `metadata.jsonl` for these pictures of the folder; some of them have a text file as well."""
        captions = cls()
        path = folder / CAPTIONS_FILE
        if path.exists():
            names = {picture.name for picture in with_text}
            captions.table = captions._read(path, ByName({picture.name: picture.name for picture in pictures}), names)
        return captions

    def of(self, picture: Path, text: Path | None) -> str | None:
        """The caption of a picture: that of its text file, or else of its line; None where there is none."""
        line = self.table.get(picture.name)
        if text is None:
            return line
        try:
            found = read_text(text, LONGEST_CAPTION).strip()
        except BadInput as error:
            self.problems.append(_of_file(text, error))
            return None
        if line is not None and line.strip() != found:
            self.outvoted.append(one_line(picture.name))
        return found

    def said(self) -> list[str]:
        """All warnings, once each picture was asked for."""
        if not self.outvoted:
            return self.warnings
        return [
            *self.warnings,
            f"a text file and {CAPTIONS_FILE} have different captions for {_some(self.outvoted)}: that of the text "
            "file is used; delete one of them",
        ]

    def _read(self, path: Path, pictures: ByName[str], with_text: Collection[str]) -> dict[str, str | None]:
        try:
            lines = read_text(path).split("\n")  # other line separators may stand inside a caption
        except BadInput as error:
            self.problems.append(_of_file(path, error))
            return {}
        found: dict[str, str | None] = {}
        without: dict[str, set[str]] = {}
        again: dict[str, None] = {}
        for number, line in enumerate(lines, start=1):
            row = self._row(line, f"{path.name}: line {number}") if line.strip() else None
            if row is None:
                continue
            if (name := pictures.get(PurePosixPath(row["file_name"]).as_posix())) is None:
                where = f"{path.name}: line {number} names {row['file_name']!r}"
                self.problems.append(f"{where}, which is not beside it; add it or drop the line")
                continue
            if name in found and found[name] != row.get("text"):
                again[one_line(name)] = None
            found[name] = row.get("text")
            if row.get("text") is None and name not in with_text and (others := _texts(row)):
                without[name] = others
        self._warn_of_columns(path, without)
        if again:
            self.warnings.append(
                f"{path.name} has several lines with different texts for {_some(list(again))}: the last one is used; "
                "delete the others"
            )
        return found

    def _row(self, line: str, place: str) -> dict[str, Any] | None:
        """One line such as `{"file_name": "a.png", "text": "a cat"}`; None, with a problem noted, for another."""
        try:
            row = parse_json(line, place)
        except BadInput:
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            self.problems.append(f'{place} is not like {{"file_name": "a.png", "text": "..."}}; mend it')
            return None
        if twice := repeated_keys(line) & {"file_name", "text"}:
            self.problems.append(f"{place} has {min(twice)!r} twice; keep one")
            return None
        text = row.get("text")
        if isinstance(text, str) and not is_text(text):
            self.problems.append(f"{place} has a text with half a surrogate pair; write it in UTF-8")
            return None
        if text is not None and not isinstance(text, str):
            self.problems.append(f"{place} has a text that is no string; put it in quotes")
            return None
        if text is not None and len(text.encode(errors="replace")) > LONGEST_CAPTION:
            self.problems.append(f"{place} has a text of {len(text):,} letters; give a caption, of some hundred words")
            return None
        return row

    def _warn_of_columns(self, path: Path, without: Mapping[str, set[str]]) -> None:
        if not without:
            return
        first, *others = without
        more = f" and {len(others)} more" if others else ""
        columns = ", ".join(sorted(set().union(*without.values())))
        self.warnings.append(
            f"{path.name} has no `text` for {one_line(first)}{more}, which therefore have no caption of it; its other "
            f"columns are {one_line(columns)}: rename the one with the captions to `text`"
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _of_file(path: Path, error: BadInput) -> str:
    """An error of a file as a line that begins with its name alone."""
    return f"{one_line(path.name)}: it {str(error).removeprefix(f'{path} ')}"


def _texts(row: Mapping[str, Any]) -> set[str]:
    """The columns of a line, besides the file's name, that hold a text."""
    return {key for key, value in row.items() if key != "file_name" and isinstance(value, str) and value.strip()}
