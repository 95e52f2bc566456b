"""`Table`: the input of causal discovery, with typed and checked columns."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from intaglio.causal.tables.column import COLUMN_KINDS, Column, ColumnKind, UnusableColumn, number_text
from intaglio.causal.tables.context_column import read_context
from intaglio.causal.tables.csv_reader import MAX_ROWS, MIN_ROWS, RawTable, read_table_file
from intaglio.causal.tables.from_objects import column_name, names_of, to_frame
from intaglio.causal.tables.missing_codes import without_codes
from intaglio.causal.tables.ordered_levels import levels_of, ordered_column
from intaglio.causal.tables.pandas_columns import read_column
from intaglio.causal.tables.redundancy import copy_groups, determined_columns
from intaglio.causal.tables.table_reading import AS_IT_IS, TableReading
from intaglio.errors import BadInput

FEW_ROWS = 50
"""Rows below which results are mostly chance; a warning."""
MANY_COLUMNS = 64
"""Columns above which a warning is given."""
MAX_COLUMNS = 150
"""Columns up to which the methods have been measured."""

Kinds = Mapping[Any, str]
"""Kind of a column by its name, or by its label in a frame: one of `COLUMN_KINDS`, or all its levels in order, such as
`bad<ok<good`; not yet checked."""


@dataclass(frozen=True, eq=False)
class Table:
    """The columns that are searched, with their kinds, and which columns were left out.

    A column of numbers is continuous; ordinal with at most 10 distinct numbers, all whole; binary with two. Texts and
    categories are nominal; an ordered categorical is ordinal. Two levels are binary whatever the column is named, but
    for continuous.
    """

    names: tuple[str, ...]
    kinds: tuple[ColumnKind, ...]
    values: Float64[ndarray, "n d"]
    """Numbers as given; codes 0, 1, … of levels; NaN is missing. Ordinal codes follow the order of the levels, others
    their frequency, most frequent first and ties by text: except for ties, the names of levels do not matter."""
    levels: tuple[tuple[str, ...], ...]
    """The text of each code, by column; empty for a continuous one."""
    isolated: tuple[str, ...] = ()
    """Constant columns, which have no edges."""
    duplicates: tuple[tuple[str, ...], ...] = ()
    """Groups of columns that are equal up to scale and shift or the names of levels; the first of each group is in
    `names`, the others are left out."""
    all_names: tuple[str, ...] = ()
    """All columns of the input in their order, without those that the user left out."""
    warnings: tuple[str, ...] = ()
    """Sentences about the table for its user."""
    rows_seen: int = 0
    """Rows of the source; more than `values` has where rows were sampled."""
    pipe_hash: str = ""
    """SHA-256 of the bytes that came through a pipe, 64 hexadecimal digits; empty where the table did not."""

    def __post_init__(self):
        if not len(self.names) == len(self.kinds) == len(self.levels) == self.values.shape[1]:
            raise ValueError("names, kinds, levels and the columns of values must be as many")
        object.__setattr__(self, "all_names", self.all_names or self.names)
        object.__setattr__(self, "rows_seen", self.rows_seen or len(self.values))

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def from_frame(
        cls,
        given: Any,
        *,
        kinds: Kinds | None = None,
        names: Sequence[str] | None = None,
        without: Collection[Any] | str = (),
        texts: Collection[Any] | str = (),
        context: Any = "",
        allow_wide: bool = False,
    ) -> "Table":
        """From a DataFrame, an array [n, d], a list of rows or mappings, or a mapping from names to columns.

        Args:
            given: the table; unnamed columns are x0, x1, …
            kinds: kinds of columns by name, where the values suggest a wrong one.
            names: names of the columns, used instead of the table's own.
            without: columns to leave out, such as identifiers.
            texts: columns whose texts are all levels; else NA and the like are missing cells among numbers.
            context: a column of regimes or times, which may number the rows, hold dates, or have any number of levels.
            allow_wide: accept more than 150 columns, for which no method has been measured.

        Raises:
            BadInput: with the column and a remedy: duplicate or unknown names; columns without a value, with infinite
                values, row numbers, identifiers, dates, complex numbers, numbers written as text or objects; not two
                dimensions, fewer than 10 rows, no column that varies, too many columns.
        """
        frame, own = to_frame(given, names)
        source = RawTable(frame, own, np.arange(len(frame)), len(frame), (), typed=True)
        named = dict(zip(names_of(kinds or {}, frame, own), (kinds or {}).values(), strict=True))
        asked = (without, texts, () if context == "" else [context])
        left_out, literal, regimes = (names_of(_listed(given), frame, own) for given in asked)
        return _table(source, named, left_out, literal, allow_wide, regimes)

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        kinds: Kinds | None = None,
        most_rows: int = MAX_ROWS,
        seed: int = 0,
        without: Collection[Any] | str = (),
        texts: Collection[Any] | str = (),
        context: str = "",
        allow_wide: bool = False,
        reading: TableReading = AS_IT_IS,
    ) -> "Table":
        """From a CSV, TSV or semicolon-separated file, also gzipped, a Parquet file, or a sheet of a workbook.

        Of a file with more than `most_rows` rows, that many are sampled uniformly: the same ones for the same seed, in
        the file's order. A pipe is read once. `texts` are columns in which NA and the like are levels and no missing
        cells, as they are in any other column of a text file. `reading` says how the file writes its table. For other
        arguments and errors see `read_table_file` and `from_frame`.
        """
        named = {column_name(label): kind for label, kind in (kinds or {}).items()}
        left_out, literal = ([column_name(label) for label in _listed(given)] for given in (without, texts))
        source = read_table_file(Path(path), most_rows, seed, literal=literal, reading=reading)
        return _table(source, named, left_out, literal, allow_wide, [context] if context else [], reading)

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """A hash of each column's kind and values, independent of its name and position."""
        return tuple(
            hashlib.sha256(kind.encode() + _content(self.values[:, k])).digest() for k, kind in enumerate(self.kinds)
        )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of names, kinds and values, 64 hexadecimal digits."""
        head = json.dumps([self.names, self.kinds, self.values.shape]).encode()
        return hashlib.sha256(head + b"\0" + _content(self.values)).hexdigest()


def _content(values: ndarray) -> bytes:
    # All NaN and all zeros get the same bits.
    return np.where(np.isnan(values), np.nan, values + 0.0).astype("<f8").tobytes()


def _listed(columns: Collection[Any] | str) -> Collection[Any]:
    return (columns,) if isinstance(columns, str) else columns


def _table(
    source: RawTable,
    kinds: Kinds,
    without: Collection[str],
    literal: Collection[str],
    allow_wide: bool,
    context: Collection[str],
    reading: TableReading = AS_IT_IS,
) -> Table:
    check_known(source.names, without, "without")
    check_known(source.names, literal, "texts")
    check_known(source.names, context, "context")
    check_known(source.names, [name for name, _ in reading.missing if name], "missing")
    if both := [name for name in context if name in without]:
        raise BadInput(f"{both[0]!r} is both the context and left out (--without); keep one of the two")
    names = tuple(name for name in source.names if name not in without)
    _check_shape(source, names)
    frame, coded = without_codes(source.frame, source.names, reading.missing)
    source = replace(source, frame=frame, warnings=(*source.warnings, *coded))
    columns = _columns(source, names, _checked(source.names, kinds), literal, context, reading)
    alone = tuple(name for name, column in columns.items() if column.constant)
    varying = {name: column for name, column in columns.items() if not column.constant}
    _check_width(varying, allow_wide)
    listed = list(varying)
    groups = copy_groups(list(varying.values()))
    extra = {listed[k] for group in groups for k in group[1:]}
    kept = {name: column for name, column in varying.items() if name not in extra}
    duplicates = tuple(tuple(listed[k] for k in group) for group in groups)
    warnings = [
        *source.warnings,
        *_column_notes(columns, alone),
        *_gap_word_notes(columns),
        *_copy_notes(duplicates, columns),
        *_table_notes(kept),
    ]
    return Table(
        tuple(kept),
        tuple(column.kind for column in kept.values()),
        np.stack([column.values for column in kept.values()], 1),
        tuple(column.levels for column in kept.values()),
        alone,
        duplicates,
        names,
        tuple(warnings),
        source.rows_seen,
        source.sha256,
    )


def check_known(names: Sequence[str], asked: Collection[str], option: str) -> None:
    """Raises `BadInput` for a name that is no column; `option` is the flag that gives it, without its dashes."""
    for name in asked:
        if name not in names:
            near = get_close_matches(str(name), names, 3, 0.5)
            there = f"near are {_quoted(near)}" if near else f"the columns are {_quoted(names[:10])}"
            tail = ", …" if not near and len(names) > 10 else ""
            raise BadInput(f"{name!r} (--{option}) is no column; {there}{tail}")


def _checked(names: Sequence[str], kinds: Kinds) -> dict[str, "ColumnKind | tuple[str, ...]"]:
    check_known(names, kinds, "kinds")
    known: dict[str, ColumnKind] = {kind: kind for kind in COLUMN_KINDS}
    if wrong := next((name for name, kind in kinds.items() if kind not in known and not levels_of(kind)), None):
        raise BadInput(
            f"column {wrong!r} is to be {kinds[wrong]!r} (--kinds), which is no kind; "
            f"one of {', '.join(COLUMN_KINDS)}, or all its levels in their order, such as bad<ok<good"
        )
    return {name: known[kind] if kind in known else levels_of(kind) for name, kind in kinds.items()}


def _check_shape(source: RawTable, names: Sequence[str]) -> None:
    if not names:
        raise BadInput("the table has no columns; give one with a column for each variable")
    if not source.rows_seen:
        raise BadInput(f"the table has {_count(len(names), 'column')} and no rows; at least {MIN_ROWS} rows are needed")
    if source.rows_seen < MIN_ROWS:
        rows = _count(source.rows_seen, "row")
        raise BadInput(f"the table has {rows}, and at least {MIN_ROWS} are needed; add rows, hundreds if possible")


def _columns(
    source: RawTable,
    names: Sequence[str],
    kinds: Mapping[str, "ColumnKind | tuple[str, ...]"],
    literal: Collection[str],
    context: Collection[str],
    reading: TableReading,
) -> dict[str, Column]:
    indices = {name: index for index, name in enumerate(source.names)}
    read: dict[str, Column] = {}
    faults: dict[str, UnusableColumn] = {}
    for name in names:
        series, kind = source.frame.iloc[:, indices[name]], kinds.get(name)
        try:
            if isinstance(kind, tuple):
                read[name] = ordered_column(series, kind)
                continue
            if name in context:
                read[name] = read_context(series, name, kind, source.rows, typed=source.typed)
                continue
            read[name] = read_column(
                series,
                name,
                kind,
                source.rows,
                typed=source.typed,
                literal=name in literal,
                thousands=reading.thousands,
            )
        except UnusableColumn as error:
            faults[name] = error
    if faults:
        raise BadInput(_refusal(faults))
    return read


def _refusal(faults: Mapping[str, UnusableColumn]) -> str:
    """One sentence about all columns that cannot be used, grouped by remedy; three of a group are described."""
    by_remedy: dict[str, list[str]] = {}
    for name, fault in faults.items():
        by_remedy.setdefault(fault.remedy, []).append(name)
    notes = []
    for remedy, names in by_remedy.items():
        listed_faults = ", ".join(f"column {name!r} {faults[name].why}" for name in names[:3])
        more = f", and alike {_quoted(names[3:])}" if names[3:] else ""
        notes.append(f"{listed_faults}{more}: {remedy}")
    return "; ".join(notes)


def _check_width(varying: Mapping[str, Column], allow_wide: bool) -> None:
    if not varying:
        raise BadInput("no column varies, so there is nothing to discover; give rows that differ")
    if len(varying) > MAX_COLUMNS and not allow_wide:
        raise BadInput(
            f"{len(varying)} columns vary, and how right the result is has been measured for {MAX_COLUMNS} at most; "
            "choose the columns that matter, or allow more (--allow-wide)"
        )


def _column_notes(columns: Mapping[str, Column], alone: Sequence[str]) -> list[str]:
    notes = [f"column {name!r} {note}" for name, column in columns.items() for note in column.notes]
    for name in alone:
        column = columns[name]
        value = repr(column.levels[0]) if column.levels else number_text(float(np.nanmax(column.values)))
        notes.append(f"column {name!r} is constant ({value}): it takes no part and stands alone in the graph")
    for name, column in columns.items():
        if column.missing > 0.5:
            notes.append(f"column {name!r} is {column.missing:.0%} missing: what is found of it rests on few rows")
    return notes


def _gap_word_notes(columns: Mapping[str, Column]) -> list[str]:
    found = {name: column.gap_words for name, column in columns.items() if column.gap_words}
    if not found:
        return []
    words = ", ".join(repr(word) for word in dict.fromkeys(word for told in found.values() for word in told))
    told = [f"{name!r} ({_count(sum(counts.values()), 'cell')})" for name, counts in found.items()]
    some = f"{', '.join(told[:5])}{f' and {len(told) - 5} more' if len(told) > 5 else ''}"
    return [
        f"cells that say {words} are read as missing in columns of texts: {some}; where they are names, list the "
        "columns as texts (--texts)"
    ]


def _copy_notes(duplicates: Sequence[Sequence[str]], columns: Mapping[str, Column]) -> list[str]:
    notes = []
    for group in duplicates:
        but = "scale and shift" if columns[group[0]].kind == "continuous" else "the names of the levels"
        notes.append(f"{_columns_are(group[1:])} the same as {group[0]!r} but for {but}: only {group[0]!r} takes part")
    return notes


def _table_notes(kept: Mapping[str, Column]) -> list[str]:
    rows, width = len(next(iter(kept.values())).values), len(kept)
    notes: list[str] = []
    if found := [list(kept)[k] for k in determined_columns(list(kept.values()))]:
        notes.append(
            f"{_columns_are(found)} all but determined (over 99.9%) by other columns, so the arrows there cannot be "
            "trusted: leave out what is computed from the rest (--without)"
        )
    if rows < FEW_ROWS:
        notes.append(f"{rows} rows are few: what is found may be chance, and much that is there is missed")
    if rows < width:
        notes.append(f"there are fewer rows ({rows}) than columns ({width}): choose the columns that matter")
    if width > MANY_COLUMNS:
        notes.append(
            f"{width} columns are more than the {MANY_COLUMNS} that the methods are made for: expect more errors"
        )
    return notes


def _columns_are(names: Sequence[str]) -> str:
    return f"column {names[0]!r} is" if len(names) == 1 else f"columns {_quoted(names)} are"


def _count(number: int, what: str) -> str:
    return f"one {what}" if number == 1 else f"{number} {what}s"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
