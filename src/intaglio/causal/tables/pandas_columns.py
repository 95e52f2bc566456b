"""Conversion of a pandas column of any type to a `Column`."""

import numbers
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int
from numpy import ndarray
from pandas.api import types

from intaglio.causal.tables.column import (
    LEAVE_OUT,
    Column,
    ColumnKind,
    UnusableColumn,
    empty_column,
    level_column,
    number_column,
    ordinal_column,
)
from intaglio.causal.tables.table_reading import Thousands
from intaglio.causal.tables.text_columns import DATES_REMEDY, category_column, text_column

_TIMES = ("date", "datetime", "datetime64", "timedelta", "timedelta64", "time", "period")
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal")


def read_column(
    series: pd.Series,
    name: str,
    kind: ColumnKind | None,
    rows: Int[ndarray, "n"],
    *,
    typed: bool = True,
    literal: bool = False,
    thousands: Thousands = "",
) -> Column:
    """A `Column` from a pandas column.

    Args:
        series: the column.
        name: its name.
        kind: the kind that the user gave; None to infer it.
        rows: each row's index in its source, from 0.
        typed: the source has typed columns; a text file has none.
        literal: all texts are texts, those that else mean a gap too.
        thousands: the sign between groups of three digits in texts.

    Raises:
        UnusableColumn: no known value, infinite or complex values, dates, identifiers, texts that should be numbers,
            objects that are neither number nor text.
    """
    dtype = series.dtype
    if isinstance(dtype, pd.SparseDtype):
        series = pd.Series(series.sparse.to_dense())
        dtype = series.dtype
    if types.is_complex_dtype(dtype):
        raise _complex()
    if _is_time(dtype):
        raise _times(series, rows)
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories(series, name, kind, rows)
    if types.is_bool_dtype(dtype):
        return _booleans(series, name, kind, rows)
    if types.is_numeric_dtype(dtype):
        return number_column(series.to_numpy(np.float64, na_value=np.nan), name, kind, rows)
    return _objects(series, name, kind, rows, typed, literal, thousands)


def _complex() -> UnusableColumn:
    return UnusableColumn("holds complex numbers", "give real and imaginary part a column each")


def _is_time(dtype: Any) -> bool:
    if types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        return True
    return isinstance(dtype, pd.ArrowDtype) and str(dtype).startswith(("date", "time", "duration"))


def _times(series: pd.Series, rows: Int[ndarray, "n"]) -> UnusableColumn:
    if not series.notna().any():
        return empty_column()
    first = series.iloc[int(np.argmax(series.notna()))]
    return UnusableColumn(f"holds dates or times, such as {str(first).removesuffix(' 00:00:00')}", DATES_REMEDY)


def _booleans(series: pd.Series, name: str, kind: ColumnKind | None, rows: Int[ndarray, "n"]) -> Column:
    values = _floats(series)
    if np.isnan(values).all() or kind == "continuous":
        return number_column(values, name, "continuous", rows)
    codes = np.where(np.isnan(values), -1, values == 1).astype(np.int64)
    return (
        ordinal_column(codes, ["False", "True"]) if kind == "ordinal" else level_column(codes, ["False", "True"], kind)
    )


def _categories(series: pd.Series, name: str, kind: ColumnKind | None, rows: Int[ndarray, "n"]) -> Column:
    codes, categories = series.cat.codes.to_numpy().astype(np.int64), series.cat.categories
    used = len(np.unique(codes[codes >= 0]))
    if not used:
        raise empty_column()
    words = [str(category) for category in categories]
    if series.cat.ordered and (kind == "ordinal" or (kind is None and used > 2)):
        return ordinal_column(codes, words)
    if kind in ("continuous", "ordinal"):
        if types.is_numeric_dtype(categories.dtype):
            values = np.append(categories.to_numpy(np.float64), np.nan)[codes]
            return number_column(values, name, kind, rows)
        raise UnusableColumn(
            f"is to be {kind} but is a categorical without numbers or order", "make it with `ordered=True`"
        )
    if kind is not None:
        return level_column(codes, words, kind)
    return category_column(codes, words, rows)


def _objects(
    series: pd.Series,
    name: str,
    kind: ColumnKind | None,
    rows: Int[ndarray, "n"],
    typed: bool,
    literal: bool,
    thousands: Thousands,
) -> Column:
    what = types.infer_dtype(series, skipna=True)
    if what in ("string", "empty"):
        return text_column(series, name, kind, rows, typed, literal, thousands)
    if what == "boolean":
        return _booleans(series, name, kind, rows)
    if what == "complex":
        raise _complex()
    if what in _TIMES:
        raise _times(series, rows)
    if what in _NUMBERS:
        return number_column(_floats(series), name, kind, rows)
    known = series.notna().to_numpy()
    for index in np.flatnonzero(known):
        if not isinstance(value := series.iloc[index], str | numbers.Real | np.bool_ | pd.Interval):
            raise UnusableColumn(
                f"holds a {type(value).__name__} in data row {int(rows[index]) + 1}",
                f"spread it over columns with one number or text a cell, or {LEAVE_OUT}",
            )
    texts = pd.Series([str(value) if there else None for value, there in zip(series, known, strict=True)], dtype=object)
    return text_column(texts, name, kind, rows, typed, literal, thousands)


def _floats(series: pd.Series) -> Float64[ndarray, "n"]:
    known = series.notna().to_numpy()
    values = np.full(len(series), np.nan)
    values[known] = [_float(value) for value in series[known]] if series.dtype == object else series[known]
    return values


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an int of more digits than any float has
        return np.inf if value > 0 else -np.inf
