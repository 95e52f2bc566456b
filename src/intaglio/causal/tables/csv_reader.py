"""Reading of table files (CSV, TSV, gzipped, Parquet, Excel) in pieces: all rows, or a uniform sample."""

import csv
import gzip
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from numpy import ndarray
from pandas.api import types

from intaglio.causal.tables.column import shown_row
from intaglio.causal.tables.csv_format import WHOLE_COMMA, CsvFormat, not_text, sniff_format
from intaglio.causal.tables.from_objects import check_names
from intaglio.causal.tables.row_sample import RowSample
from intaglio.causal.tables.table_file import TableFile, table_file
from intaglio.causal.tables.table_reading import AS_IT_IS, TableReading
from intaglio.causal.tables.text_columns import MISSING_TEXTS, plain_minus
from intaglio.causal.tables.workbook import is_workbook, sheet_as_text
from intaglio.errors import BadInput

MIN_ROWS = 10
"""Rows of the smallest table that is accepted."""
MAX_ROWS = 100_000
"""Rows that are sampled from a longer file."""
CELLS_PER_PIECE = 1_000_000
"""Cells that are read at a time."""

# Newer versions of pandas always read numbers exactly, and warn of the option.
_EXACTLY: Any = {"float_precision": "round_trip"} if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1) else {}


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table as it was read, before its columns are typed."""

    frame: pd.DataFrame
    names: tuple[str, ...]
    """One per column; the names in `frame` do not count."""
    rows: Int[ndarray, "n"]
    """Each row's index in its source, from 0."""
    rows_seen: int
    """Rows of the source."""
    warnings: tuple[str, ...]
    typed: bool
    """Whether the source has types of its own; a text file has none."""
    sha256: str = ""
    """SHA-256 of what came through a pipe, 64 hexadecimal digits; empty for a file and a table in memory."""


def read_table_file(
    path: Path,
    most_rows: int = MAX_ROWS,
    seed: int = 0,
    *,
    piece: int = CELLS_PER_PIECE,
    literal: Collection[str] = (),
    reading: TableReading = AS_IT_IS,
) -> RawTable:
    """The rows of a CSV, TSV, semicolon or gzipped file, of a Parquet file, or of a sheet of a workbook.

    Args:
        path: the file, which may be a pipe. Separator, decimal comma and encoding (UTF-8, or UTF-16 with a byte-order
            mark) are detected where `reading` does not say.
        most_rows: rows that are sampled uniformly from a longer file, in the file's order.
        seed: seed of the sample.
        piece: cells that are held in memory at a time, beside the sample.
        literal: names of columns whose texts are all kept, those that else mean a gap too.
        reading: how the file writes its table, as far as the user says.

    Raises:
        BadInput: the file is missing, empty, of another format or encoding, has uneven lines or no line of names.
    """
    if most_rows < MIN_ROWS:
        raise BadInput(f"{most_rows} rows are too few to draw; draw {MIN_ROWS} at least (--rows)")
    with table_file(path) as file:
        found = _read_file(file, reading, _Draw(most_rows, seed, piece, literal))
        return replace(found, sha256=file.sha256)


@dataclass(frozen=True)
class _Draw:
    """The part of a file that is read."""

    most_rows: int
    seed: int
    piece: int
    literal: Collection[str]


def _read_file(file: TableFile, reading: TableReading, draw: _Draw) -> RawTable:
    if reading.encoding and reading.thousands == reading.sheet == "" and _is_parquet(file):
        raise BadInput(f"{file.path} is no text file and has no encoding; leave --encoding out")
    if is_workbook(file):
        with sheet_as_text(file, reading.sheet) as (sheet, notes):
            found = _csv(sheet, replace(reading, encoding=""), draw, separator=",")
            return replace(found, warnings=(*notes, *found.warnings))
    if reading.sheet:
        raise BadInput(f"{file.path} is no workbook and has no sheets; leave --sheet out")
    if _is_parquet(file):
        return _parquet(file, draw.most_rows, draw.seed, draw.piece)
    return _csv(file, reading, draw)


def header_names(path: Path, reading: TableReading = AS_IT_IS) -> tuple[str, ...] | None:
    """The names of a text file's columns, from its beginning alone; None for a pipe and for files of other formats.

    Raises `BadInput` as `read_table_file` does for what is no table.
    """
    if path.is_fifo():
        return None
    with table_file(path) as file:
        if is_workbook(file) or _is_parquet(file):
            return None
        layout = sniff_format(file, reading.encoding)
        names = _named(layout)
        return names[1:] if layout.row_names else names


def _csv(file: TableFile, reading: TableReading, wanted: _Draw, separator: str = "") -> RawTable:
    path, layout = file.path, sniff_format(file, reading.encoding, separator)
    most_rows, seed, piece = wanted.most_rows, wanted.seed, wanted.piece
    names = _named(layout)
    texts = {*layout.padded, *layout.texts, *(k for k, name in enumerate(names) if name in wanted.literal)}
    if reading.thousands:  # pandas would take 1.200 for little more than one
        texts = set(range(len(names)))
    while True:
        draw = RowSample(most_rows, seed)
        passed = _read(layout, len(names), texts, draw, piece)
        pieces, rows = draw.pieces()
        again = _mixed(pieces) | _texts_with_gaps(pieces)
        if not again - texts:
            break
        # Pieces disagree on whether a column holds numbers, or a text may have been taken for a gap, so the file is
        # read again with that column as text.
        texts |= again
    if passed.gaps and (uneven := _uneven_line(layout)):
        raise uneven
    frame = pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=range(len(names)))
    if layout.decimal == "," and not reading.thousands:
        frame = frame.apply(_with_decimal_points)
    kept = [index for index, name in enumerate(names) if not (index == 0 and layout.row_names)]
    unnamed = [index for index in kept if not layout.names[index]]
    empty = [index for index in unnamed if not frame.iloc[:, index].notna().any()]
    kept = [index for index in kept if index not in empty]
    notes = [*layout.notes, *_sample_note(path, draw, len(rows), seed), *_empty_note(empty), *_blank_note(passed.blank)]
    frame, names = frame.iloc[:, kept], tuple(names[index] for index in kept)
    _refuse_second_names(path, names, frame, rows)
    notes += _check_names_line(path, names, frame)
    return RawTable(frame, names, rows, draw.seen, tuple(notes), typed=False)


def _with_decimal_points(column: pd.Series) -> pd.Series:
    """Decimal commas as points in a column that was read as text, as one gap mark such as ? makes it."""
    if not _is_text(column):
        return column
    words = [word for word in column.dropna().unique() if isinstance(word, str)]
    numbers = {word: word.strip().replace(",", ".") for word in words if WHOLE_COMMA.fullmatch(word.strip())}
    return column if 2 * len(numbers) < len(words) else column.map(lambda word: numbers.get(word, word))


def _is_parquet(file: TableFile) -> bool:
    with file.open() as raw:
        return raw.read(4) == b"PAR1" or file.path.suffix.lower() in (".parquet", ".pq")


def _named(layout: CsvFormat) -> tuple[str, ...]:
    names = tuple(name or f"Unnamed: {index}" for index, name in enumerate(layout.names))
    if sum(map(_numeric, names)) > len(names) / 2:
        raise _no_names(layout.path, names)
    try:
        check_names(names)
    except BadInput as error:
        raise BadInput(f"{layout.path} needs other names in its first line: {error}") from error
    return names


def _numeric(name: str) -> bool:
    try:
        float(plain_minus(name).replace(",", "."))
    except ValueError:
        return False
    return True


def _no_names(path: Path, names: Sequence[str]) -> BadInput:
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return BadInput(
        f"the first line of {path} looks like values ({shown}); put a line with the columns' names above it, or begin "
        "names that are numbers with a letter"
    )


def _refuse_second_names(path: Path, names: Sequence[str], frame: pd.DataFrame, rows: Int[ndarray, "n"]) -> None:
    """Raises `BadInput` where a row is the line of names again, as in files that were put one after the other."""
    if not all(_is_text(frame.iloc[:, index]) for index in range(len(names))):
        return
    same = [
        frame.iloc[:, index].map(lambda cell, name=name: isinstance(cell, str) and cell.strip() == name)
        for index, name in enumerate(names)
    ]
    if not same or frame.empty:
        return
    found = pd.concat(same, axis=1).to_numpy(dtype=bool)
    again = np.asarray(found.all(1))
    # Names that stand in other rows too, or in most, are values: then the first line is one of them.
    if again.any() and 2 * again.sum() < len(again) and bool(np.all(found.any(1) == again)):
        raise BadInput(
            f"data row {shown_row(rows, again)} of {path} is the line of names again, as where two files were put one "
            "after the other; delete that line"
        )


def _check_names_line(path: Path, names: Sequence[str], frame: pd.DataFrame) -> list[str]:
    """A note on single names that look like values. Raises `BadInput` where most of them do."""
    suspect = [
        name
        for index, name in enumerate(names)
        if _numeric(name) or (_is_text(frame.iloc[:, index]) and bool((frame.iloc[:, index] == name).any()))
    ]
    if len(suspect) > len(names) / 2:
        raise _no_names(path, names)
    if not suspect:
        return []
    shown = ", ".join(map(repr, suspect))
    return [f"{shown} in the first line of {path.name} looks like a value: check that this line holds the names"]


def _sample_note(path: Path, draw: RowSample, kept: int, seed: int) -> list[str]:
    if kept == draw.seen:
        return []
    return [f"{path.name} has {draw.seen:,} rows, {kept:,} of them drawn (seed {seed})"]


def _empty_note(empty: Sequence[int]) -> list[str]:
    fields = ", ".join(str(index + 1) for index in empty)
    return [f"field {fields} of each line has neither name nor value and is left out"] if empty else []


def _blank_note(blank: int) -> list[str]:
    rows = "one row without a value stands" if blank == 1 else f"{blank} rows without a value stand"
    return [f"{rows} at the end and {'is' if blank == 1 else 'are'} left out"] if blank else []


@dataclass
class _Passed:
    """Facts of the rows after a pass."""

    gaps: bool = False
    """Whether the last field is missing somewhere, as in a line that is too short."""
    held: list[pd.DataFrame] = field(default_factory=list)
    """Rows without a value, which are left out where nothing comes after them."""

    @property
    def blank(self) -> int:
        """Rows without a value at the end."""
        return sum(map(len, self.held))

    def add(self, frame: pd.DataFrame, draw: RowSample) -> None:
        """Passes rows to the sample, but for those at the end that hold no value."""
        filled = np.flatnonzero(frame.notna().any(axis=1).to_numpy())
        if not len(filled):
            self.held.append(frame)
            return
        for held in self.held:
            draw.add(held)
        end = int(filled[-1]) + 1
        self.held = [frame.iloc[end:]] if end < len(frame) else []
        self.gaps |= bool(frame.iloc[:, -1].isna().any())
        draw.add(frame.iloc[:end])


def _read(layout: CsvFormat, width: int, texts: set[int], draw: RowSample, piece: int) -> _Passed:
    """Passes all rows to the sample."""
    passed = _Passed()
    with _errors_explained(layout), layout.rows() as file:
        pieces = pd.read_csv(
            file,
            sep=layout.separator,
            decimal=layout.decimal,
            header=None,
            names=range(width),
            index_col=False,
            dtype=dict.fromkeys(texts, str),
            # Of texts only the empty one is a gap here: whether NA is one is decided with all of the column in view.
            na_values={index: [""] if index in texts else sorted(MISSING_TEXTS) for index in range(width)},
            keep_default_na=False,
            skipinitialspace=True,
            chunksize=max(1000, piece // width),
            low_memory=False,
            on_bad_lines="error",
            **_EXACTLY,
        )
        for frame in pieces:
            passed.add(frame, draw)
    return passed


@contextmanager
def _errors_explained(layout: CsvFormat) -> Iterator[None]:
    try:
        yield
    except UnicodeError as error:
        raise not_text(layout.file, layout.gzipped, layout.encoding) from error
    except pd.errors.EmptyDataError:
        return
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        raise _uneven_line(layout, strict=True) or BadInput(
            f"{layout.path} cannot be read ({error}); check its quotes"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(f"{layout.path} is packed but broken ({error}); pack it again") from error


def _uneven_line(layout: CsvFormat, *, strict: bool = False) -> BadInput | None:
    """The error for the first line with too many or too few fields or, if `strict`, with unmatched quotes."""
    with layout.rows() as file:
        records = csv.reader(file, delimiter=layout.separator, strict=strict)
        last = 0
        try:
            for record in records:
                if len(record) != len(layout.names) and any(field.strip() for field in record):
                    fields = "one field" if len(record) == 1 else f"{len(record)} fields"
                    return BadInput(
                        f"line {layout.before + last + 1} of {layout.path} has {fields}, and the others have "
                        f"{len(layout.names)}; put texts that hold {layout.separator!r} into quotes and end no line "
                        "early"
                    )
                last = records.line_num
        except csv.Error:
            return BadInput(
                f"line {layout.before + last + 1} of {layout.path} has a quote that is never closed, or one inside a "
                "text; double those that belong to the text"
            )
    return None


def _storage(series: pd.Series) -> str:
    if types.is_bool_dtype(series.dtype):
        return "truth"
    return "number" if types.is_numeric_dtype(series.dtype) else "text"


def _is_text(series: pd.Series) -> bool:
    return _storage(series) == "text"


def _mixed(pieces: Sequence[pd.DataFrame]) -> set[int]:
    """Indices of columns that are numbers in one piece and texts in another; pieces without a value do not count."""
    width = pieces[0].shape[1] if pieces else 0
    found = set()
    for index in range(width):
        columns = [piece.iloc[:, index] for piece in pieces]
        storages = {_storage(column) for column in columns if column.notna().any()}
        if len(storages) > 1:
            found.add(index)
    return found


def _texts_with_gaps(pieces: Sequence[pd.DataFrame]) -> set[int]:
    """Indices of columns that hold texts, and gaps too."""
    width = pieces[0].shape[1] if pieces else 0
    columns = ((index, [piece.iloc[:, index] for piece in pieces]) for index in range(width))
    return {
        index
        for index, column in columns
        if any(part.isna().any() for part in column)
        and any(_is_text(part) and part.map(lambda cell: isinstance(cell, str)).any() for part in column)
    }


def _parquet(table: TableFile, most_rows: int, seed: int, piece: int) -> RawTable:
    path = table.path
    try:
        from pyarrow import ArrowInvalid, parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise BadInput(
            f'{path} is a Parquet file; install what reads it (pip install "intaglio[parquet]"), or save it as CSV'
        ) from error
    draw = RowSample(most_rows, seed)
    try:
        with table.open() as raw, parquet.ParquetFile(raw) as file:
            names = tuple(str(name).strip() for name in file.schema_arrow.empty_table().to_pandas().columns)
            for batch in file.iter_batches(batch_size=max(1000, piece // max(1, len(names)))):
                draw.add(batch.to_pandas())
    except (ArrowInvalid, OSError) as error:
        raise BadInput(f"{path} is no whole Parquet file ({error}); write it again") from error
    check_names(names)
    pieces, rows = draw.pieces()
    frame = pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=list(names))
    return RawTable(frame, names, rows, draw.seen, tuple(_sample_note(path, draw, len(rows), seed)), typed=True)
