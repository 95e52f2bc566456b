"""Numbers that stand for missing cells, such as -999: noticed and asked about, and made missing on request."""

import re
import shlex
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64
from numpy import ndarray
from pandas.api import types

CODES = re.compile(r"-?9{2,9}")
"""Numbers by which many files write missing cells."""
SCALE_CODES = re.compile(r"-?(9{1,9}|77|88|97|98)")
"""The same on a scale of few whole numbers, as in questionnaires."""
FAR_CODE = 3.0
"""Distance of a code from all other numbers, in ranges of these, from which it may stand for a gap."""
FAR_REPEATED = 0.5
"""The same distance for a code that many cells hold."""
MANY_CELLS, MANY_SHARE = 5, 0.02
"""Cells, and share of the known ones, from which many hold one number."""


def code_notes(known: Float64[ndarray, "k"], name: str, *, scale: bool = False) -> list[str]:
    """A note on each code far from all other numbers, which may mean missing.

    Args:
        known: the known numbers of a column.
        name: the column's name, for the flag that takes the code as missing.
        scale: the numbers are whole, and few are distinct.
    """
    pattern, notes = SCALE_CODES if scale else CODES, []
    for sign in (1.0, -1.0):
        side = sign * known
        codes: list[float] = []
        # Several codes stand side by side, such as 98 and 99; a fourth one would be a scale of its own.
        while side.size and len(codes) < 3 and pattern.fullmatch(_text(abs(float(side.max())))):
            codes.append(float(side.max()))
            side = side[side != codes[-1]]
        if not codes or not side.size:
            continue
        cells = {code: int((sign * known == code).sum()) for code in codes}
        largest = max(cells.values())
        far = FAR_REPEATED if largest >= max(MANY_CELLS, MANY_SHARE * len(known)) else FAR_CODE
        # Halves, so that the difference of the largest numbers stays finite.
        nearest, extent = min(codes) / 2 - side.max() / 2, side.max() / 2 - side.min() / 2
        if largest > 1 and nearest > far * extent:
            notes += [_note(sign * code, number, name) for code, number in cells.items()]
    return notes


def _note(code: float, cells: int, name: str) -> str:
    flag = shlex.quote(f"{name}={_text(code)}")
    often = "one cell" if cells == 1 else f"{cells} cells"
    return (
        f"holds {_text(code)} in {often}, far from all its other numbers, and it is read as a number: where it means "
        f"missing, say so (--missing {flag})"
    )


def _text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def without_codes(
    frame: pd.DataFrame, names: Sequence[str], missing: Sequence[tuple[str, str]]
) -> tuple[pd.DataFrame, list[str]]:
    """The frame with codes as missing cells, and notes on how many, or that there are none.

    Args:
        frame: columns in the order of `names`.
        names: their names.
        missing: (column, code) pairs, as `TableReading` has them.
    """
    columns = [frame.iloc[:, k] for k in range(frame.shape[1])]
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for wanted, code in missing:
        found = counts.setdefault((wanted, code), {})
        for k, name in enumerate(names):
            if wanted not in ("", name):
                continue
            marked = _marked(columns[k], code)
            if number := int(marked.sum()):
                found[name] = number
                columns[k] = _cleared(columns[k], marked)
    notes = [_found_note(wanted, code, found) for (wanted, code), found in counts.items()]
    changed = pd.concat(columns, axis=1) if columns else frame
    changed.columns = frame.columns
    return changed, notes


def _marked(column: pd.Series, code: str) -> ndarray:
    """Cells that hold the code, as a number or as a text."""
    number = _numbers(pd.Series([code], dtype=object))[0]
    if types.is_numeric_dtype(column.dtype):
        if types.is_complex_dtype(column.dtype) or np.isnan(number):
            return np.zeros(len(column), bool)
        return column.to_numpy(np.float64, na_value=np.nan) == number
    texts = column.astype(object).map(lambda cell: str(cell).strip() if cell is not None else "")
    same = np.asarray(texts == code, bool)
    if np.isnan(number):
        return same
    return same | (_numbers(texts) == number)


def _numbers(texts: pd.Series) -> Float64[ndarray, "n"]:
    return np.asarray(pd.to_numeric(texts, errors="coerce"), dtype=np.float64)


def _cleared(column: pd.Series, marked: ndarray) -> pd.Series:
    if types.is_integer_dtype(column.dtype) or types.is_bool_dtype(column.dtype):
        return pd.Series(np.where(marked, np.nan, column.to_numpy(np.float64, na_value=np.nan)), column.index)
    return column.mask(pd.Series(marked, column.index))


def _found_note(wanted: str, code: str, found: dict[str, int]) -> str:
    if not found:
        where = f"column {wanted!r}" if wanted else "any column"
        return f"{code} (--missing) is not in {where}"
    told = [f"{name!r} ({'one cell' if number == 1 else f'{number} cells'})" for name, number in found.items()]
    more = f" and {len(told) - 5} more" if len(told) > 5 else ""
    return f"{code} is read as missing: {', '.join(told[:5])}{more}"
