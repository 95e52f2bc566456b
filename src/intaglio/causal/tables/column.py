"""`Column`: the kind of a column, its numbers or codes of levels, and warnings about it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int
from numpy import ndarray

from intaglio.causal.tables.missing_codes import code_notes

ColumnKind = Literal["continuous", "ordinal", "binary", "nominal"]
COLUMN_KINDS: tuple[ColumnKind, ...] = get_args(ColumnKind)

MAX_ORDINAL_VALUES = 10
"""Distinct whole numbers up to which a column is ordinal."""
MAX_LEVELS = 15
"""Unordered levels that are kept apart; the rarer ones are merged into one more."""
MERGED = re.compile(r"\d+ others( \(merged\))*")
"""Names of that one."""
NEARLY_ALL_SHARE = 0.9
"""Share of distinct texts among the known cells from which a column of texts counts as an identifier."""
INDEX_NAME = re.compile(r"(^|[\W_])(id|ids|idx|index|key|uuid|row|rows|rownum|rownames?|no|nr)$|^unnamed: \d+$", re.I)
"""Names that columns of identifiers have."""

LEAVE_OUT = "leave it out (--without)"
OR_NAME = f"{LEAVE_OUT}, or name it continuous where it is a measurement (--kinds)"


class UnusableColumn(Exception):
    """The reason why a column cannot be used, as the end of a sentence that begins with its name; and a remedy."""

    def __init__(self, why: str, remedy: str):
        super().__init__(f"{why}: {remedy}")
        self.why = why
        self.remedy = remedy


def empty_column() -> UnusableColumn:
    """The refusal of a column without a known cell."""
    return UnusableColumn("has no value at all", f"fill it in, or {LEAVE_OUT}")


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a `Table`."""

    kind: ColumnKind
    values: Float64[ndarray, "n"]
    """Numbers, or codes from 0; NaN is missing."""
    levels: tuple[str, ...] = ()
    """The text of each code; empty for numbers."""
    notes: tuple[str, ...] = ()
    """Warnings, each as the end of a sentence that begins with the column's name."""
    gap_words: Mapping[str, int] = field(default_factory=dict)
    """Texts of a column of texts that were read as missing, such as NA, with their numbers of cells."""

    @property
    def constant(self) -> bool:
        """Whether all known values are equal."""
        return bool(np.nanmin(self.values) == np.nanmax(self.values))

    @property
    def missing(self) -> float:
        """Share of missing cells, in [0, 1]."""
        return float(np.isnan(self.values).mean())


def number_column(
    values: Float64[ndarray, "n"],
    name: str,
    kind: ColumnKind | None,
    rows: Int[ndarray, "n"],
    notes: Sequence[str] = (),
) -> Column:
    """A column of numbers: binary with two distinct ones, ordinal with few whole ones, else continuous.

    Args:
        values: numbers; NaN is missing.
        name: the column's name; distinct whole numbers under the name of an index are refused.
        kind: the kind that the user gave; None to infer it.
        rows: each row's index in its source, from 0.
        notes: warnings that the column has already.

    Raises:
        UnusableColumn: no known value, an infinite one, or numbers that only count the rows.
    """
    values = values + 0.0  # -0.0 and 0.0 are one value
    known = values[~np.isnan(values)]
    if not known.size:
        raise empty_column()
    _refuse_infinite(values, rows)
    few = _distinct_if_few(known)
    if kind is None:
        kind = "continuous" if few is None else _kind_of_few(few)
        notes = [*notes, *_row_numbers(values, name, rows)] if few is None else notes
        scale = kind == "ordinal"
        notes = [*notes, *code_notes(known, name, scale=scale)]
    if kind == "continuous":
        return Column(kind, values, (), tuple(notes))
    distinct = np.unique(known) if few is None else few
    codes = np.where(np.isnan(values), -1, np.searchsorted(distinct, values))
    texts = [number_text(value) for value in distinct]
    return ordinal_column(codes, texts, notes) if kind == "ordinal" else level_column(codes, texts, kind, notes)


def ordinal_column(codes: Int[ndarray, "n"], texts: Sequence[str], notes: Sequence[str] = ()) -> Column:
    """An ordinal column of the levels that occur, in the order of `texts`; a binary one of two. Code -1 is missing."""
    if len(np.unique(codes[codes >= 0])) == 2:
        return level_column(codes, texts, "binary", notes)
    there = np.bincount(codes[codes >= 0], minlength=len(texts)) > 0
    index = np.append(np.cumsum(there) - 1.0, np.nan)
    levels = tuple(text for text, known in zip(texts, there, strict=True) if known)
    return Column("ordinal", index[codes], levels, tuple(notes))


def level_column(
    codes: Int[ndarray, "n"], texts: Sequence[str], kind: ColumnKind | None = None, notes: Sequence[str] = ()
) -> Column:
    """A nominal column of the levels that occur, binary where there are two; code -1 is missing.

    The most frequent level becomes code 0, ties are ordered by text. Beyond `MAX_LEVELS` the rarer levels are merged
    into one. Raises `UnusableColumn` where `kind` is binary and there are more than two.
    """
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    order = [k for k in sorted(range(len(texts)), key=lambda k: (-counts[k], texts[k])) if counts[k]]
    if kind == "binary" and len(order) > 2:
        raise UnusableColumn(f"has {len(order)} levels, and a binary column has two", "name it nominal (--kinds)")
    groups = [[k] for k in order]
    if (rare := len(order) - MAX_LEVELS) > 1:
        groups = [*groups[:MAX_LEVELS], order[MAX_LEVELS:]]
        groups.sort(key=lambda group: -counts[group].sum())  # stable: ties stay as they are
        notes = [
            *notes,
            f"has {len(order)} levels: the {MAX_LEVELS} most frequent are kept, the other {rare} are merged",
        ]
    index = np.full(len(texts) + 1, np.nan)
    for code, group in enumerate(groups):
        index[group] = code
    levels = tuple(texts[group[0]] if len(group) == 1 else _merged_name(texts, group) for group in groups)
    return Column("binary" if len(levels) == 2 else kind or "nominal", index[codes], levels, tuple(notes))


def number_text(value: float) -> str:
    """The shortest text that reads back as the number: 3 for 3.0."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def shown_row(rows: Int[ndarray, "n"], here: ndarray) -> int:
    """The first row where `here` is true, counted from 1."""
    return int(rows[int(np.argmax(here))]) + 1


def merged_level(levels: Sequence[str]) -> str:
    """The level that the rarer ones were merged into; empty where there is none."""
    if len(levels) != MAX_LEVELS + 1:
        return ""
    return next((level for level in levels if MERGED.fullmatch(level)), "")


def _merged_name(texts: Sequence[str], group: Sequence[int]) -> str:
    text = f"{len(group)} others"
    while text in texts:
        text = f"{text} (merged)"
    return text


def _refuse_infinite(values: Float64[ndarray, "n"], rows: Int[ndarray, "n"]) -> None:
    if number := int(np.isinf(values).sum()):
        first = shown_row(rows, np.isinf(values))
        has = "an infinite value" if number == 1 else f"{number} infinite values, the first"
        raise UnusableColumn(
            f"has {has} in data row {first}", "put in what was meant, or leave the cell empty where it is unknown"
        )


def _distinct_if_few(known: Float64[ndarray, "k"]) -> Float64[ndarray, "m"] | None:
    # The first rows decide for most columns, so that a long one is neither sorted nor hashed.
    if len(np.unique(known[:1000])) > MAX_ORDINAL_VALUES:
        return None
    distinct = np.sort(pd.unique(known))
    return distinct if len(distinct) <= MAX_ORDINAL_VALUES else None


def _kind_of_few(distinct: Float64[ndarray, "m"]) -> ColumnKind:
    if len(distinct) == 2:
        return "binary"
    return "ordinal" if _whole(distinct) and len(distinct) > 1 else "continuous"


def _whole(values: Float64[ndarray, "k"]) -> bool:
    return bool((values[:100] == np.floor(values[:100])).all() and (values == np.floor(values)).all())


def _row_numbers(values: Float64[ndarray, "n"], name: str, rows: Int[ndarray, "n"]) -> list[str]:
    """A note on whole numbers that may only count the rows. Raises `UnusableColumn` where they surely do."""
    if np.isnan(values).any() or not _whole(values):
        return []
    start = float(values[0]) - float(rows[0])
    if start in (0.0, 1.0) and (values - rows == start).all():
        counted = ", ".join(number_text(value) for value in values[:3])
        raise UnusableColumn(f"numbers the rows ({counted}, …) and measures nothing", OR_NAME)
    in_order = bool((values[1:] > values[:-1]).all() or (values[1:] < values[:-1]).all())
    permuted = values.max() == values.min() + len(values) - 1
    if not (in_order or permuted or INDEX_NAME.search(name)) or not pd.Index(values).is_unique:
        return []
    if INDEX_NAME.search(name):
        raise UnusableColumn(f"is named like an identifier, and its {len(values)} values are all different", OR_NAME)
    how = "in order" if in_order else "without a gap"
    return [f"holds whole numbers, all different and {how}: where it only numbers the rows, {LEAVE_OUT}"]
