"""Detection of a text table's format: compression, encoding, separator, decimal sign, names, width."""

import csv
import gzip
import io
import itertools
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intaglio.causal.tables.table_file import TableFile
from intaglio.causal.tables.text_columns import MINUS_SIGNS, MISSING_TEXTS, PADDED
from intaglio.errors import BadInput

SNIFFED_LETTERS = 1 << 18
"""Characters that are inspected, in one part."""
MAX_SNIFFED_PARTS = 64
"""Parts that are inspected at most, where lines are long."""
SEPARATORS = "\t;|,"
"""Candidates in order of preference: a comma may also stand inside numbers."""

OTHER_FORMATS = {
    ".numbers": "a spreadsheet",
    ".json": "JSON",
    ".jsonl": "JSON",
    ".sav": "an SPSS file",
    ".dta": "a Stata file",
    ".sas7bdat": "a SAS file",
    ".rds": "an R file",
    ".rdata": "an R file",
    ".feather": "a Feather file",
    ".arrow": "an Arrow file",
    ".pkl": "a pickle",
    ".pickle": "a pickle",
    ".npy": "a numpy file",
    ".npz": "a numpy file",
    ".h5": "an HDF5 file",
    ".hdf5": "an HDF5 file",
    ".mat": "a Matlab file",
    ".sqlite": "a database",
    ".db": "a database",
    ".pdf": "a PDF",
    ".html": "a web page",
}
"""Formats that are refused by name, by suffix."""

_SIGN = rf"[-+{MINUS_SIGNS}]?"
WHOLE_COMMA = re.compile(rf"{_SIGN}\d+,\d+([eE]{_SIGN}\d+)?")
_WHOLE_POINT = re.compile(rf"{_SIGN}\d+\.\d+([eE]{_SIGN}\d+)?")
_NO_TEXT = re.compile(rf"{_SIGN}(\d+[.,]?\d*|[.,]\d+)([eE]{_SIGN}\d+)?|[-+]?inf(inity)?|true|false", re.I)
"""Fields that a reader may take for numbers or truth values."""
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[ \t;,]*(\r\n|\n|\r)', re.I)
"""A first line by which Excel is told the separator."""


@dataclass(frozen=True)
class CsvFormat:
    """The format of a text table."""

    file: TableFile
    gzipped: bool
    encoding: str
    separator: str
    decimal: str
    names: tuple[str, ...]
    """One name per field; empty where the file gives none."""
    row_names: bool
    """Whether the first field of each line has no name in the header, as R writes it."""
    padded: tuple[int, ...]
    """Indices of columns whose whole numbers begin with zeros, as codes do."""
    texts: tuple[int, ...]
    """Indices of columns that hold other texts than numbers, truth values and gaps, as far as was inspected."""
    before: int
    """Lines before the first row, that of the names included."""
    notes: tuple[str, ...]
    """Warnings."""

    @property
    def path(self) -> Path:
        """The file, as messages name it."""
        return self.file.path

    @contextmanager
    def rows(self) -> Iterator[io.TextIOWrapper]:
        """The file, opened and positioned after the line of names."""
        with open_text(self.file, self.gzipped, self.encoding) as file:
            for _ in itertools.islice(file, self.before):
                pass
            yield file


@contextmanager
def open_text(file: TableFile, gzipped: bool, encoding: str) -> Iterator[io.TextIOWrapper]:
    """A text file opened for reading, decompressed where needed."""
    with _opened(file, gzipped) as raw:
        yield io.TextIOWrapper(raw, encoding=encoding, newline="")


@contextmanager
def _opened(file: TableFile, gzipped: bool) -> Iterator[Any]:
    with file.open() as raw:
        if not gzipped:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as unpacked:
            yield unpacked


def sniff_format(source: TableFile, encoding: str = "", separator: str = "") -> CsvFormat:
    """The format of a text file, from its beginning.

    Args:
        source: the file.
        encoding: its encoding; empty for UTF-8, or UTF-16 with a byte-order mark.
        separator: what stands between fields; empty to find it out.

    Raises:
        BadInput: it is no text, is encoded otherwise, or holds no table.
    """
    path = source.path
    with source.open() as raw:
        start = raw.read(4096)
    gzipped = start.startswith(b"\x1f\x8b")
    _refuse_others(source, start)
    marked = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if b"\0" in start and not gzipped and not encoding and marked != "utf-16":
        raise BadInput(f"{path} does not hold text; save the table as CSV (UTF-8) or Parquet")
    encoding = encoding or marked
    try:
        with open_text(source, gzipped, encoding) as file:
            text, whole = _head(file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(f"{path} is packed but broken ({error}); pack it again") from error
    except UnicodeError as error:
        raise not_text(source, gzipped, encoding) from error
    if "\0" in text:
        raise BadInput(f"{path} does not hold text; save the table as CSV (UTF-8) or Parquet")
    if not text.strip():
        raise BadInput(f"{path} is empty; give a table with a line of names and one line for each row")
    told = None if separator else SEPARATOR_LINE.match(text)
    text = text[told.end() :] if told else text
    if separator or told:
        separator, records = _told(path, text, separator or (told[1] if told else ""), whole)
    else:
        separator, records = _separated(path, text, whole)
    found = _format(source, gzipped, encoding, separator, text, records)
    return replace(found, before=found.before + 1) if told else found


def _told(path: Path, text: str, separator: str, whole: bool) -> tuple[str, list[list[str]]]:
    """The records of a text that names its separator in a line of its own."""
    if not (records := _records(text, separator, whole)):
        raise BadInput(f"{path} cannot be read as fields separated by {separator!r}, which its first line names")
    return separator, records


def _head(file: io.TextIOWrapper) -> tuple[str, bool]:
    """The beginning of the file, more than 20 lines unless they are very long, and whether that is the whole file."""
    text = ""
    for _ in range(MAX_SNIFFED_PARTS):
        more = file.read(SNIFFED_LETTERS)
        text += more
        if len(more) < SNIFFED_LETTERS:
            return text, True
        if max(text.count("\n"), text.count("\r")) > 20:
            break
    return text, False


def not_text(file: TableFile, gzipped: bool, encoding: str) -> BadInput:
    """The error for a file that cannot be decoded, with the line where decoding fails."""
    path = file.path
    if not encoding.startswith("utf"):
        return BadInput(f"{path} is not text in {encoding} (--encoding); name the encoding that it has")
    with _opened(file, gzipped) as raw:
        for number, line in enumerate(iter(raw.readline, b""), start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                shown = line[max(0, error.start - 10) : error.start + 10].decode("latin-1").strip()
                return BadInput(
                    f"line {number} of {path} is not UTF-8 (byte 0x{line[error.start]:02x} in {shown!r}, perhaps "
                    "Latin-1 from Excel); name its encoding (--encoding latin-1), or save the file as UTF-8"
                )
    return BadInput(
        f"{path} cannot be decoded as {encoding}; name its encoding (--encoding), or save the file as UTF-8"
    )


def _refuse_others(file: TableFile, start: bytes) -> None:
    path = file.path
    kind = OTHER_FORMATS.get(path.suffix.lower())
    if start.startswith(b"PK\x03\x04"):
        kind = kind or _archive(file)
    elif start.startswith((b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd")):
        kind = "packed in a way that is not read"
    if kind == "a zip archive":
        raise BadInput(f"{path} is a zip archive; unpack it, and give the table in it")
    if kind:
        raise BadInput(f"{path} is {kind}; save the table as CSV (UTF-8), gzipped if you like, or as Parquet")


def _archive(file: TableFile) -> str:
    try:
        with file.open() as raw, zipfile.ZipFile(raw):
            return "a zip archive"
    except zipfile.BadZipFile:
        return "a broken archive"


def _separated(path: Path, text: str, whole: bool) -> tuple[str, list[list[str]]]:
    best: tuple[float, str, list[list[str]]] = (0.0, ",", [])
    for separator in SEPARATORS:
        records = _records(text, separator, whole)
        width = len(records[0]) if records else 0
        even = sum(len(record) in (width, width + 1) for record in records) / max(1, len(records))
        if width > 1 and round(even, 1) > round(best[0], 1):
            best = (even, separator, records)
    if best[2]:
        return best[1:]
    records = _records(text, ",", whole)
    if not records:
        raise BadInput(f"{path} cannot be read as lines of fields; check its quotes")
    _refuse_title(path, text, whole)
    width, lines = Counter(len(",".join(record).split()) for record in records).most_common(1)[0]
    if width > 1 and lines > 0.8 * len(records):
        raise BadInput(f"the columns of {path} seem to be separated by spaces; separate them by commas or tabs")
    return ",", records


def _refuse_title(path: Path, text: str, whole: bool) -> None:
    """Raises `BadInput` for a title: a first line without separators above lines that have them."""
    for separator in SEPARATORS:
        records = _records(text, separator, whole)
        width, lines = Counter(map(len, records)).most_common(1)[0] if records else (1, 0)
        if width > 1 and lines > 0.8 * len(records):
            raise _title(path, records[0], width)


def _title(path: Path, record: list[str], width: int) -> BadInput:
    first = next(field.strip() for field in record if field.strip())
    return BadInput(
        f"the first line of {path} ({first[:40]!r}) does not name the {width} columns below it; delete what stands "
        "above the line of names, or put one there"
    )


def _records(text: str, separator: str, whole: bool) -> list[list[str]]:
    lines = io.StringIO(text, newline="")
    try:
        records = [record for record in csv.reader(lines, delimiter=separator) if _filled(record)]
    except csv.Error:
        return []
    return records if whole or len(records) < 2 else records[:-1]  # the last one may be cut off


def _filled(record: list[str]) -> bool:
    return any(field.strip() for field in record)


def _format(
    file: TableFile, gzipped: bool, encoding: str, separator: str, text: str, records: list[list[str]]
) -> CsvFormat:
    path = file.path
    names, data = [name.strip() for name in records[0]], records[1:]
    if len(names) > 2 and sum(map(bool, names)) == 1:
        raise _title(path, records[0], len(names))
    notes: list[str] = []
    row_names = False
    if data and all(len(record) == len(names) + 1 for record in data):
        if all(not record[-1].strip() for record in data):
            names = [*names, ""]
        else:
            names, row_names = ["", *names], True
            notes.append(
                f"the lines of {path.name} have one field more than the line of names: the first field is taken for "
                "the rows' names and left out"
            )
    if len(names) == 1:
        notes.append(f"{path.name} has one column: no comma, semicolon or tab separates its lines")
    fields = [field.strip() for record in data for field in record]
    commas = separator != "," and any(map(WHOLE_COMMA.fullmatch, fields))
    decimal = "," if commas and not any(map(_WHOLE_POINT.fullmatch, fields)) else "."
    columns = [[field.strip() for field in column] for column in itertools.zip_longest(*data, fillvalue="")]
    columns = columns[: len(names)]
    padded = tuple(k for k, column in enumerate(columns) if any(map(PADDED.fullmatch, column)))
    texts = tuple(k for k, column in enumerate(columns) if any(map(_is_other, column)))
    return CsvFormat(
        file,
        gzipped,
        encoding,
        separator,
        decimal,
        tuple(names),
        row_names,
        padded,
        texts,
        _lines_of_names(text, separator),
        tuple(notes),
    )


def _is_other(field: str) -> bool:
    return field not in MISSING_TEXTS and not _NO_TEXT.fullmatch(field)


def _lines_of_names(text: str, separator: str) -> int:
    records = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    next(record for record in records if _filled(record))
    return records.line_num
