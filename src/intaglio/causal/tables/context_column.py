"""Reading of a column that names the regime or the time of each row, and is no variable."""

from numbers import Real

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int
from numpy import ndarray
from pandas.api import types

from intaglio.causal.tables.column import Column, ColumnKind, merged_level, number_column, number_text
from intaglio.causal.tables.pandas_columns import read_column
from intaglio.causal.tables.text_columns import MISSING_TEXTS

FEW_NUMBERS = 10
"""Distinct whole numbers up to which a column of numbers is read as any other, as levels."""
ISO_TIME = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?Z?)?"
"""Texts of dates, with or without a time of the day, as ISO 8601 has them."""


def read_context(
    series: pd.Series, name: str, kind: ColumnKind | None, rows: Int[ndarray, "n"], *, typed: bool = True
) -> Column:
    """The column as `read_column` reads it, but for what makes sense in a context alone.

    Numbers may number the rows, dates and times become days since the first, an ordered categorical of more than
    `FEW_NUMBERS` levels becomes the numbers of its levels, and every text is a level of its own, however many there
    are. A kind that the user gave is kept to.
    """
    if kind is not None:
        column = read_column(series, name, kind, rows, typed=typed)
        return _every_level(series, name, rows, typed) if merged_level(column.levels) else column
    if (places := _ordered_levels(series)) is not None:
        return Column("continuous", places)
    if (days := _days(series)) is not None:
        return Column("continuous", days)
    numbers = _numbers(series)
    if numbers is not None:
        few = len(np.unique(numbers[~np.isnan(numbers)])) <= FEW_NUMBERS
        return number_column(numbers, name, None if few else "continuous", rows)
    return _every_level(series, name, rows, typed)


def _ordered_levels(series: pd.Series) -> Float64[ndarray, "n"] | None:
    """The numbers of the levels in use, from 0, in their order; None without an order, or with few of them."""
    if not isinstance(series.dtype, pd.CategoricalDtype) or not series.dtype.ordered:
        return None
    used = series.cat.remove_unused_categories().cat
    codes = used.codes.to_numpy(np.float64)
    return np.where(codes < 0, np.nan, codes) if len(used.categories) > FEW_NUMBERS else None


def _days(series: pd.Series) -> Float64[ndarray, "n"] | None:
    """Days since the first date; None where the column holds no dates, or texts other than ISO 8601."""
    if types.is_datetime64_any_dtype(series.dtype):
        times = series
    elif types.is_numeric_dtype(series.dtype) or isinstance(series.dtype, pd.CategoricalDtype):
        return None
    else:
        known = ~_gaps(series, typed=False)
        texts = pd.Series(series[known]).astype(str)
        if texts.empty or not texts.str.fullmatch(ISO_TIME).all():
            return None
        times = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True)
        if times.isna().any():
            return None
        times = times.reindex(series.index)
    days = pd.Series(times - times.min()) / pd.Timedelta(days=1)
    return days.to_numpy(np.float64)


def _numbers(series: pd.Series) -> Float64[ndarray, "n"] | None:
    """The column as numbers, NaN where missing; None where it holds anything else, or nothing."""
    if isinstance(series.dtype, pd.CategoricalDtype) or types.is_bool_dtype(series.dtype):
        return None
    known = ~_gaps(series, typed=False)
    found = pd.Series(pd.to_numeric(series.where(pd.Series(known, series.index)), errors="coerce"))
    numbers = found.to_numpy(np.float64, na_value=np.nan)
    return numbers if known.any() and not np.isnan(numbers[known]).any() else None


def _every_level(series: pd.Series, name: str, rows: Int[ndarray, "n"], typed: bool) -> Column:
    """A nominal column of all texts, in the order of the alphabet; a constant one as `read_column` reads it."""
    known = ~_gaps(series, typed=typed)
    texts = [_text(value) for value in series[known]]
    words, codes = np.unique(np.array(texts, dtype=object), return_inverse=True)
    if len(words) < 2:
        return read_column(series, name, None, rows, typed=typed)
    values = np.full(len(series), np.nan)
    values[known] = codes.ravel()
    return Column("binary" if len(words) == 2 else "nominal", values, tuple(words.tolist()))


def _text(value: object) -> str:
    return number_text(float(value)) if isinstance(value, Real) and not isinstance(value, bool) else str(value)


def _gaps(series: pd.Series, *, typed: bool) -> Bool[ndarray, "n"]:
    """Missing cells; of a text file also those that say so."""
    gone = series.isna().to_numpy(dtype=bool)
    return gone if typed else gone | series.isin(list(MISSING_TEXTS)).to_numpy(dtype=bool)
