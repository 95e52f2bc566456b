"""A file of a table, read in pieces: all of its rows, or a uniform draw where they are many."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jaxtyping import Int
from numpy import ndarray
from pandas.api import types

from intaglio.causal.tables.csv_format import WHOLE_COMMA, Format, not_text, sniffed
from intaglio.causal.tables.from_objects import check_names
from intaglio.causal.tables.row_sample import RowDraw
from intaglio.causal.tables.texts import BLANKS
from intaglio.errors import BadInput

LEAST_ROWS = 10
"""Rows of the smallest table that is looked at."""
MOST_ROWS = 100_000
PIECE = 1_000_000
"""Cells that are read at a time."""


# Newer ones read each number exactly, and warn of the option.
_EXACTLY: Any = {"float_precision": "round_trip"} if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1) else {}


@dataclass(frozen=True, eq=False)
class Source:
    """A table as it was given, before its columns are looked at."""

    frame: pd.DataFrame
    names: tuple[str, ...]
    """One a column, whatever the frame calls them."""
    rows: Int[ndarray, "n"]
    """Each row's place in its source, from 0."""
    rows_seen: int
    warnings: tuple[str, ...]
    typed: bool
    """The columns have types that somebody chose; in a text file they were guessed."""


def read_source(path: Path, most_rows: int = MOST_ROWS, seed: int = 0, *, piece: int = PIECE) -> Source:
    """The rows of a CSV, TSV, semicolon or gzipped file, or of a Parquet file.

    Args:
        path: the file. Its separator, decimal comma, encoding (UTF-8, or UTF-16 with its mark) are found out.
        most_rows: of a longer file, that many rows are drawn uniformly, in the file's order.
        seed: of the draw.
        piece: cells that are held at a time, beside those that are drawn.

    Raises:
        BadInput: it is not there, empty, of another format or encoding, has uneven lines or no line of names.
    """
    if most_rows < LEAST_ROWS:
        raise BadInput(f"{most_rows} rows are too few to draw; draw {LEAST_ROWS} at least (option `most_rows`)")
    if _is_parquet(path):
        return _parquet(path, most_rows, seed, piece)
    shape = sniffed(path)
    names = _named(shape)
    texts = set(shape.padded)
    while True:
        draw = RowDraw(most_rows, seed)
        gaps = _read(shape, len(names), texts, draw, piece)
        pieces, rows = draw.pieces()
        mixed = _mixed(pieces)
        if not mixed - texts:
            break
        # Pieces disagree on whether a column holds numbers, so what was written is read again as it stands.
        texts |= mixed
    if gaps and (uneven := _uneven(shape)):
        raise uneven
    frame = pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=range(len(names)))
    if shape.decimal == ",":
        frame = frame.apply(_pointed)
    kept = [place for place, name in enumerate(names) if not (place == 0 and shape.row_names)]
    unnamed = [place for place in kept if not shape.names[place]]
    empty = [place for place in unnamed if not frame.iloc[:, place].notna().any()]
    kept = [place for place in kept if place not in empty]
    notes = [*shape.notes, *_of_draw(path, draw, len(rows), seed), *_of_empty(empty)]
    frame, names = frame.iloc[:, kept], tuple(names[place] for place in kept)
    notes += _of_names(path, names, frame)
    return Source(frame, names, rows, draw.seen, tuple(notes), typed=False)


def _pointed(column: pd.Series) -> pd.Series:
    """Decimal commas as points in a column that stayed text, as one mark for a gap such as ? makes of all numbers."""
    if not _is_text(column):
        return column
    words = [word for word in column.dropna().unique() if isinstance(word, str)]
    numbers = {word: word.strip().replace(",", ".") for word in words if WHOLE_COMMA.fullmatch(word.strip())}
    return column if 2 * len(numbers) < len(words) else column.map(lambda word: numbers.get(word, word))


def _is_parquet(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1" or path.suffix.lower() in (".parquet", ".pq")


def _named(shape: Format) -> tuple[str, ...]:
    names = tuple(name or f"Unnamed: {place}" for place, name in enumerate(shape.names))
    if sum(map(_numeric, names)) > len(names) / 2:
        raise _headless(shape.path, names)
    try:
        check_names(names)
    except BadInput as error:
        raise BadInput(f"{shape.path} needs other names in its first line: {error}") from error
    return names


def _numeric(name: str) -> bool:
    try:
        float(name.replace(",", "."))
    except ValueError:
        return False
    return True


def _headless(path: Path, names: Sequence[str]) -> BadInput:
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return BadInput(
        f"the first line of {path} looks like values ({shown}); put a line with the columns' names above it, or begin "
        "names that are numbers with a letter"
    )


def _of_names(path: Path, names: Sequence[str], frame: pd.DataFrame) -> list[str]:
    """Refuses a first line of values; notes single names that look like values."""
    suspect = [
        name
        for place, name in enumerate(names)
        if _numeric(name) or (_is_text(frame.iloc[:, place]) and bool((frame.iloc[:, place] == name).any()))
    ]
    if len(suspect) > len(names) / 2:
        raise _headless(path, names)
    if not suspect:
        return []
    shown = ", ".join(map(repr, suspect))
    return [f"{shown} in the first line of {path.name} looks like a value: check that this line holds the names"]


def _of_draw(path: Path, draw: RowDraw, kept: int, seed: int) -> list[str]:
    if kept == draw.seen:
        return []
    return [f"{path.name} has {draw.seen:,} rows, {kept:,} of them drawn (seed {seed})"]


def _of_empty(empty: Sequence[int]) -> list[str]:
    places = ", ".join(str(place + 1) for place in empty)
    return [f"field {places} of each line has neither name nor value and is left out"] if empty else []


def _read(shape: Format, width: int, texts: set[int], draw: RowDraw, piece: int) -> bool:
    """Hands all rows to the draw; True where the last field is missing somewhere, as in a line that is too short."""
    gaps = False
    with _explained(shape), shape.rows() as file:
        pieces = pd.read_csv(
            file,
            sep=shape.separator,
            decimal=shape.decimal,
            header=None,
            names=range(width),
            index_col=False,
            dtype=dict.fromkeys(texts, str),
            na_values=sorted(BLANKS),
            keep_default_na=False,
            skipinitialspace=True,
            chunksize=max(1000, piece // width),
            low_memory=False,
            on_bad_lines="error",
            **_EXACTLY,
        )
        for frame in pieces:
            gaps |= bool(frame.iloc[:, -1].isna().any())
            draw.add(frame)
    return gaps


@contextmanager
def _explained(shape: Format) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise not_text(shape.path, shape.gzipped, shape.encoding) from error
    except pd.errors.EmptyDataError:
        return
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        raise _uneven(shape, strict=True) or BadInput(
            f"{shape.path} cannot be read ({error}); check its quotes"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(f"{shape.path} is packed but broken ({error}); pack it again") from error


def _uneven(shape: Format, *, strict: bool = False) -> BadInput | None:
    """What is wrong with the first line of more or fewer fields than the others; with `strict`, or of odd quotes."""
    with shape.rows() as file:
        records = csv.reader(file, delimiter=shape.separator, strict=strict)
        last = 0
        try:
            for record in records:
                if len(record) != len(shape.names) and any(field.strip() for field in record):
                    fields = "one field" if len(record) == 1 else f"{len(record)} fields"
                    return BadInput(
                        f"line {shape.before + last + 1} of {shape.path} has {fields}, and the others have "
                        f"{len(shape.names)}; put texts that hold {shape.separator!r} into quotes and end no line early"
                    )
                last = records.line_num
        except csv.Error:
            return BadInput(
                f"line {shape.before + last + 1} of {shape.path} has a quote that is never closed, or one inside a "
                "text; double those that belong to the text"
            )
    return None


def _family(series: pd.Series) -> str:
    if types.is_bool_dtype(series.dtype):
        return "truth"
    return "number" if types.is_numeric_dtype(series.dtype) else "text"


def _is_text(series: pd.Series) -> bool:
    return _family(series) == "text"


def _mixed(pieces: Sequence[pd.DataFrame]) -> set[int]:
    """Places of columns that are numbers in one piece and texts in another; empty pieces of a column say nothing."""
    width = pieces[0].shape[1] if pieces else 0
    found = set()
    for place in range(width):
        columns = [piece.iloc[:, place] for piece in pieces]
        families = {_family(column) for column in columns if column.notna().any()}
        if len(families) > 1:
            found.add(place)
    return found


def _parquet(path: Path, most_rows: int, seed: int, piece: int) -> Source:
    try:
        from pyarrow import ArrowInvalid, parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise BadInput(
            f'{path} is a Parquet file; install what reads it (pip install "intaglio[parquet]"), or save it as CSV'
        ) from error
    draw = RowDraw(most_rows, seed)
    try:
        with parquet.ParquetFile(path) as file:
            names = tuple(str(name).strip() for name in file.schema_arrow.empty_table().to_pandas().columns)
            for batch in file.iter_batches(batch_size=max(1000, piece // max(1, len(names)))):
                draw.add(batch.to_pandas())
    except (ArrowInvalid, OSError) as error:
        raise BadInput(f"{path} is no whole Parquet file ({error}); write it again") from error
    check_names(names)
    pieces, rows = draw.pieces()
    frame = pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=list(names))
    return Source(frame, names, rows, draw.seen, tuple(_of_draw(path, draw, len(rows), seed)), typed=True)
