"""Levels whose order the user gives, such as `bad<ok<good`."""

import numpy as np
import pandas as pd
from pandas.api import types

from intaglio.causal.tables.column import Column, UnusableColumn, empty_column, number_text, ordinal_column
from intaglio.causal.tables.text_columns import MISSING_TEXTS


def levels_of(words: str) -> tuple[str, ...]:
    """The levels of words such as `bad<ok<good`, lowest first; empty where these name no two, or one twice."""
    levels = tuple(level.strip() for level in words.split("<"))
    return levels if len(levels) > 1 and all(levels) and len(set(levels)) == len(levels) else ()


def ordered_column(series: pd.Series, levels: tuple[str, ...]) -> Column:
    """An ordinal column with codes 0, 1, … in the order of `levels`, of those that occur; a binary one of two.

    NA and the like are missing, unless they are levels. Raises `UnusableColumn` for a text that is no level.
    """
    known = series.notna().to_numpy(dtype=bool)
    texts = [_text(cell) if there else "" for cell, there in zip(series, known, strict=True)]
    place = {level: code for code, level in enumerate(levels)}
    codes = np.array([place.get(text, -1) for text in texts])
    unnamed = dict.fromkeys(text for text in texts if text not in place and text not in MISSING_TEXTS)
    if unnamed:
        shown = ", ".join(map(repr, list(unnamed)[:5])) + (", …" if len(unnamed) > 5 else "")
        raise UnusableColumn(f"also holds {shown}", "put these into the order of its levels too (--kinds)")
    if (codes < 0).all():
        raise empty_column()
    return ordinal_column(codes, levels)


def _text(cell: object) -> str:
    number = types.is_number(cell) and not types.is_bool(cell)
    return number_text(float(cell)) if number else str(cell).strip()  # pyright: ignore[reportArgumentType]
