"""Reading of a column that names the regime or the time of each row, and is no variable."""

import numpy as np
import pandas as pd
from jaxtyping import Int
from numpy import ndarray
from pandas.api import types

from intaglio.causal.tables.column import Column, ColumnKind, number_column
from intaglio.causal.tables.pandas_columns import read_column
from intaglio.causal.tables.text_columns import MISSING_TEXTS

FEW_NUMBERS = 10
"""Distinct whole numbers up to which a column of numbers is read as any other, as levels."""


def read_context(
    series: pd.Series, name: str, kind: ColumnKind | None, rows: Int[ndarray, "n"], *, typed: bool = True
) -> Column:
    """The column as `read_column` reads it, but for what makes sense in a context alone.

    Numbers may number the rows, dates and times become days since the first, and every text is a level of its own,
    however many there are. A kind that the user gave is kept to.
    """
    if kind is not None:
        return read_column(series, name, kind, rows, typed=typed)
    if (days := _days(series)) is not None:
        return Column("continuous", days)
    numbers = _numbers(series)
    if numbers is not None:
        few = len(np.unique(numbers[~np.isnan(numbers)])) <= FEW_NUMBERS
        return number_column(numbers, name, None if few else "continuous", rows)
    return _every_level(series, name, rows, typed)


def _days(series: pd.Series) -> ndarray | None:
    """Days since the first date; None where the column holds no dates, or texts other than ISO 8601."""
    if types.is_datetime64_any_dtype(series.dtype):
        times = series
    elif types.is_numeric_dtype(series.dtype) or isinstance(series.dtype, pd.CategoricalDtype):
        return None
    else:
        texts = series[~series.isna() & ~series.isin(list(MISSING_TEXTS))].astype(str)
        if not texts.str.fullmatch(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?Z?)?").all() or texts.empty:
            return None
        times = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True).reindex(series.index)
        if times[texts.index].isna().any():
            return None
    days = (times - times.min()) / pd.Timedelta(days=1)
    return days.to_numpy(np.float64)


def _numbers(series: pd.Series) -> ndarray | None:
    """The column as numbers, NaN where missing; None where it holds anything else, or nothing."""
    if isinstance(series.dtype, pd.CategoricalDtype) or types.is_bool_dtype(series.dtype):
        return None
    known = ~(series.isna() | series.isin(list(MISSING_TEXTS)))
    found = pd.to_numeric(series.where(known), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return found if known.any() and not np.isnan(found[known]).any() else None


def _every_level(series: pd.Series, name: str, rows: Int[ndarray, "n"], typed: bool) -> Column:
    """A nominal column of all distinct texts, in the order of the alphabet; others as `read_column` reads them."""
    gone = series.isna() if typed else series.isna() | series.isin(list(MISSING_TEXTS))
    texts = series[~gone].astype(str)
    words = sorted(texts.unique())
    if len(words) < 2:
        return read_column(series, name, None, rows, typed=typed)
    codes = pd.Series(np.nan, index=series.index)
    codes[~gone] = texts.map({word: float(k) for k, word in enumerate(words)})
    return Column("binary" if len(words) == 2 else "nominal", codes.to_numpy(np.float64), tuple(words))
