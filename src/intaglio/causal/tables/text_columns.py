"""Reading of text columns: numbers written as text, marks of missing cells, dates, identifiers, levels."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int
from numpy import ndarray

from intaglio.causal.tables.column import (
    LEAVE_OUT,
    MAX_LEVELS,
    NEARLY_ALL_SHARE,
    Column,
    ColumnKind,
    UnusableColumn,
    empty_column,
    level_column,
    number_column,
    shown_row,
)
from intaglio.causal.tables.table_reading import Thousands
from intaglio.causal.tables.written_numbers import read_written

MISSING_TEXTS = frozenset({"", "NA", "N/A", "n/a", "#N/A", "#NA", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "<NA>"})
"""Texts of missing cells in any column. `None` is not one of them: in questionnaires it is a level."""
GAP_MARKS = frozenset({"?", "-", "--", "–", "—", ".", "..", "*"})
GAP_WORDS = frozenset({"none", "missing", "unknown", "not available", "not applicable", "nat", "nil", "n.a."})
"""Signs and words that stand for a missing cell between numbers."""
SNIFFED_WORDS = 1000
"""Distinct texts that are inspected to tell what a column holds."""

PLAIN_NUMBERS_REMEDY = (
    "write plain numbers, with a decimal point and without unit or thousands separator, say which sign stands between "
    "thousands (--thousands , or --thousands .), or name it nominal where they are levels (--kinds)"
)
DATES_REMEDY = f"turn it into numbers (days since the first, year, month), or {LEAVE_OUT}"

_DAY = r"\d{4}(?P<a>[-/.])\d{1,2}(?P=a)\d{1,2}|\d{1,2}(?P<b>[-/.])\d{1,2}(?P=b)(\d{4}|\d{2})"
_MONTH = r"\d{1,2}[ -][A-Za-z]{3,9}\.?[ ,-]+\d{2,4}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}"
_HOUR = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?"
DATE = re.compile(rf"({_DAY}|{_MONTH})([T ,].*)?|{_HOUR}")
DECORATED = re.compile(
    r"\(?[-+]?\s?([$€£¥₹]|[A-Z]{3}\s)?\s?[-+]?\d[\d.,'’_\s]*(%|‰|[$€£¥₹]|°?[A-Za-zµ][A-Za-zµ²³/]{0,7}\.?)?\)?"
)
MINUS_SIGNS = "\u2212\u2010\u2011\u2013\ufe63\uff0d"
"""Minus signs, hyphens and dashes that stand before digits instead of the ASCII one."""
_PLAIN_MINUS = str.maketrans(dict.fromkeys(MINUS_SIGNS, "-"))
PADDED = re.compile(r"[-+]?0\d+")
"""Digits that begin with a zero: a code, such as a postal code, and no number."""


@dataclass(frozen=True, eq=False)
class DistinctTexts:
    """The distinct texts of a column, and the text of each row."""

    words: list[str]
    codes: Int[ndarray, "n"]
    """Indices into `words`; -1 is missing."""
    counts: Int[ndarray, "m"]
    """Number of rows with each word."""
    numbers: Float64[ndarray, "m"]
    """Each word as a number; NaN where it is none."""

    def share(self, marked: Bool[ndarray, "m"]) -> float:
        """Share of the known cells whose words are marked."""
        return float(self.counts[marked].sum() / max(1, self.counts.sum()))

    def matching(self, pattern: re.Pattern[str]) -> Bool[ndarray, "m"]:
        """Words that match a pattern as a whole, among the first `SNIFFED_WORDS`; the others count as not matching."""
        found = np.zeros(len(self.words), bool)
        found[:SNIFFED_WORDS] = [pattern.fullmatch(word) is not None for word in self.words[:SNIFFED_WORDS]]
        return found

    def gaps(self) -> dict[str, int]:
        """The words that may stand for a missing cell, with their numbers of rows."""
        return {word: int(n) for word, n in zip(self.words, self.counts, strict=True) if word in MISSING_TEXTS}

    def only_numbers_beside(self, left_out: Collection[str]) -> bool:
        """Whether all words but these are numbers."""
        return all(word in left_out for word, number in zip(self.words, self.numbers, strict=True) if np.isnan(number))

    def without(self, left_out: Collection[str]) -> "DistinctTexts":
        """The texts with these words as missing cells."""
        kept = np.array([word not in left_out for word in self.words])
        index = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)
        words = [word for word, there in zip(self.words, kept, strict=True) if there]
        return DistinctTexts(words, index[self.codes], self.counts[kept], self.numbers[kept])

    def as_numbers(self) -> Float64[ndarray, "n"]:
        """The number of each row; NaN where there is none."""
        return np.append(self.numbers, np.nan)[self.codes]

    def example(self, marked: Bool[ndarray, "m"], rows: Int[ndarray, "n"]) -> str:
        """The first marked word and the first row with it, for a message."""
        word = int(np.argmax(marked))
        return f"{_short(self.words[word])} (data row {shown_row(rows, self.codes == word)})"


def text_column(
    series: pd.Series,
    name: str,
    kind: ColumnKind | None,
    rows: Int[ndarray, "n"],
    typed: bool,
    literal: bool = False,
    thousands: Thousands = "",
) -> Column:
    """A `Column` from texts.

    Texts such as NA are missing cells among numbers and in a text file; a source of typed columns has gaps of its own,
    so there they are texts like others. The empty text is missing everywhere.

    Args:
        series: strings and missing values.
        name: the column's name.
        kind: the kind that the user gave; None to infer it.
        rows: each row's index in its source, from 0.
        typed: the source has typed columns, so that few distinct numbers kept as text are levels; a text file has none.
        literal: all texts are texts, NA too.
        thousands: the sign between groups of three digits.

    Raises:
        UnusableColumn: numbers with units or separators, or with words among them; dates; all texts different.
    """
    texts = _texts(series)
    gaps = {} if literal else texts.gaps()
    if gaps and (not typed or kind in ("continuous", "ordinal") or texts.only_numbers_beside(gaps)):
        texts = texts.without(gaps)
    elif gaps:
        gaps = {}
    if not texts.words:
        raise empty_column()
    texts, notes = (texts, []) if literal else _written(texts, thousands, rows)
    column = _typed_texts(texts, name, kind, rows, typed, literal)
    if column.levels:
        notes = []
    return replace(
        column,
        notes=(*notes, *column.notes),
        gap_words=gaps if column.levels and not texts.only_numbers_beside(GAP_MARKS) else {},
    )


def _written(texts: DistinctTexts, thousands: Thousands, rows: Int[ndarray, "n"]) -> tuple[DistinctTexts, list[str]]:
    """The texts with numbers for what people write, such as $1,200 and 12 %, where all that is no gap is so written."""
    own = [k for k, word in enumerate(texts.words) if not _is_gap(word)]
    if not thousands and not any(DECORATED.fullmatch(texts.words[k]) for k in own[:SNIFFED_WORDS]):
        return texts, []
    found = read_written([plain_minus(texts.words[k]) for k in own], thousands)
    if found is None:
        return texts, []
    numbers = np.full(len(texts.words), np.nan)
    numbers[own] = [np.nan if number is None else number for number in found.numbers]
    unread = np.isin(np.arange(len(numbers)), own) & np.isnan(numbers)
    if unread.any():
        if thousands and (unread & ~np.isnan(texts.numbers)).any():
            raise UnusableColumn(
                f"holds {texts.example(unread, rows)}, which is no number with {thousands!r} between thousands",
                "leave --thousands out, or write the column like the others",
            )
        return texts, []
    example = texts.example(np.isin(np.arange(len(numbers)), own), rows)
    note = f"holds {example}, and is read as numbers without the {found.sign}" if found.sign else ""
    return replace(texts, numbers=numbers), [note] if note else []


def _typed_texts(
    texts: DistinctTexts, name: str, kind: ColumnKind | None, rows: Int[ndarray, "n"], typed: bool, literal: bool
) -> Column:
    non_numeric = np.isnan(texts.numbers)
    if kind in ("continuous", "ordinal"):
        return _requested_numbers(texts, name, kind, rows, non_numeric)
    if kind is not None:
        return level_column(texts.codes, texts.words, kind)
    padded = any(PADDED.fullmatch(word) for word in texts.words)
    if not non_numeric.any() and not padded and (not typed or len(texts.words) > MAX_LEVELS):
        return number_column(texts.as_numbers(), name, None, rows)
    others = [texts.words[k] for k in np.flatnonzero(non_numeric)]
    if others and not padded and texts.share(~non_numeric) >= 0.5 and all(map(_is_gap, others)):
        gaps = ", ".join(map(repr, others))
        note = f"holds numbers and {gaps}, which is read as missing ({_cell_count(texts, non_numeric)})"
        return number_column(texts.as_numbers(), name, None, rows, [note])
    notes = [] if padded else _check_levels(texts, rows, non_numeric)
    return category_column(texts.codes, texts.words, rows, notes, literal)


def plain_minus(text: str) -> str:
    """A text with the ASCII minus in place of other minus signs, hyphens and dashes."""
    return text.translate(_PLAIN_MINUS)


def category_column(
    codes: Int[ndarray, "n"],
    words: Sequence[str],
    rows: Int[ndarray, "n"],
    notes: Sequence[str] = (),
    literal: bool = False,
) -> Column:
    """Unordered levels. Raises `UnusableColumn` where nearly every row has a text of its own, as identifiers do."""
    known = int((codes >= 0).sum())
    used: list[int] = np.unique(codes[codes >= 0]).tolist()
    if not known:
        raise empty_column()
    if len(used) > 2 and len(used) >= NEARLY_ALL_SHARE * known:
        raise UnusableColumn(
            f"looks like an identifier, with {len(used)} different texts in {known} cells, such as "
            f"{_short(words[used[0]])}",
            f"{LEAVE_OUT}, or name it nominal where its texts are levels (--kinds)",
        )
    suspicious = [] if literal else _suspicious_levels([words[k] for k in used])
    return level_column(codes, words, None, [*notes, *suspicious])


def _texts(series: pd.Series) -> DistinctTexts:
    codes, found = pd.factorize(series)
    words: dict[str, int] = {}
    index = np.full(len(found) + 1, -1)
    for k, word in enumerate(found):
        if clean := str(word).strip():
            index[k] = words.setdefault(clean, len(words))
    codes = index[codes]
    counts = np.bincount(codes[codes >= 0], minlength=len(words))
    plain = pd.Series([_ascii_number(word) for word in words], dtype=object)
    numbers = np.asarray(pd.to_numeric(plain, errors="coerce"), dtype=np.float64)
    return DistinctTexts(list(words), codes, counts, numbers)


def _ascii_number(word: str) -> str:
    """The word as pandas may read it as a number: with a plain minus, and not with digits of other scripts."""
    plain = plain_minus(word)
    return plain if plain.isascii() else "-"


def _requested_numbers(
    texts: DistinctTexts, name: str, kind: ColumnKind, rows: Int[ndarray, "n"], non_numeric: Bool[ndarray, "m"]
) -> Column:
    wrong = non_numeric & np.array([not _is_gap(word) for word in texts.words])
    if wrong.any():
        how = "numbers" if kind == "continuous" else "numbers, or an ordered pandas categorical"
        raise UnusableColumn(
            f"is to be {kind} but holds {texts.example(wrong, rows)}", f"give {how}, or name it nominal"
        )
    return number_column(texts.as_numbers(), name, kind, rows)


def _check_levels(texts: DistinctTexts, rows: Int[ndarray, "n"], non_numeric: Bool[ndarray, "m"]) -> list[str]:
    """Notes on levels that may be numbers. Raises `UnusableColumn` for dates and for numbers written as text."""
    dates = texts.matching(DATE)
    if texts.share(dates) >= NEARLY_ALL_SHARE * texts.share(_sniffed(texts)):
        raise UnusableColumn(f"holds dates or times, such as {texts.example(dates, rows)}", DATES_REMEDY)
    few = len(texts.words) <= MAX_LEVELS
    decorated = texts.matching(DECORATED) & non_numeric
    if decorated.any() and texts.share(decorated | ~non_numeric) >= NEARLY_ALL_SHARE * texts.share(_sniffed(texts)):
        if few:
            return [
                f"holds {texts.example(decorated, rows)} and is read as levels without an order: {PLAIN_NUMBERS_REMEDY}"
            ]
        raise UnusableColumn(
            f"holds numbers written as text, such as {texts.example(decorated, rows)}", PLAIN_NUMBERS_REMEDY
        )
    if not non_numeric.all() and texts.share(~non_numeric) >= 0.5 and non_numeric.any():
        example = texts.example(non_numeric, rows)
        if few:
            return [f"mixes numbers with {example} and is read as levels without an order"]
        raise UnusableColumn(
            f"holds numbers, but in {_cell_count(texts, non_numeric)} something else, such as {example}",
            "put in a number, or leave the cell empty where it is unknown",
        )
    if not non_numeric.any() and len(texts.words) > 2:
        return [
            "holds numbers as text and is read as levels without an order: make numbers of them where they are some"
        ]
    return []


def _sniffed(texts: DistinctTexts) -> Bool[ndarray, "m"]:
    return np.arange(len(texts.words)) < SNIFFED_WORDS


def _cell_count(texts: DistinctTexts, marked: Bool[ndarray, "m"]) -> str:
    number = int(texts.counts[marked].sum())
    return "one cell" if number == 1 else f"{number} cells"


def _is_gap(word: str) -> bool:
    return word in GAP_MARKS or word in MISSING_TEXTS or word.lower() in GAP_WORDS


def _suspicious_levels(words: Sequence[str]) -> list[str]:
    """Notes on levels that may mean missing, and on two that differ only in case."""
    notes = [
        f"has {word!r} as a level: leave these cells empty where it means missing"
        for word in words
        if word in GAP_MARKS or word in MISSING_TEXTS
    ]
    seen: dict[str, str] = {}
    for word in words[:SNIFFED_WORDS]:
        other = seen.setdefault(word.casefold(), word)
        if other != word:
            notes.append(f"has the levels {_short(other)} and {_short(word)}: write both alike where they are one")
            break
    return notes


def _short(word: str) -> str:
    return repr(word if len(word) <= 40 else f"{word[:40]}…")
