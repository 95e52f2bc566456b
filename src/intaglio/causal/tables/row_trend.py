"""Trends over the rows: columns that a smooth function of the order of the rows explains, as where time moves them all.

Time is then a common cause that the order tells, and what is left of a column beside its trend is what it would be
among rows of one time. The trend is sought in the lowest frequencies and taken out as a line through each short block
of rows, which follows curves and steps as well.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import stats

from intaglio.causal.tables.column import ColumnKind
from intaglio.causal.tables.row_dependence import MIN_TESTED_ROWS, scored_columns, sort_keys

ALPHA = 1e-4
"""Probability that a column of rows without a trend counts as one that has it."""
MIN_SHARE = 0.05
"""Least share of the variance that the trend explains in two columns at least."""
DEGREE, COSINES = 3, 16
"""Largest power and number of half waves over the rows of a smooth function."""
NEXT_COSINES = 56
"""Last half waves whose mean power stands for that of rows without a trend, whatever their dependence in short."""
MAX_TESTED_ROWS = 20_000
"""Rows, evenly spaced, in which a trend is sought."""
LEAST_BLOCK = 25
"""Fewest rows of a block; of n rows each has √n, so that what a step leaves in its one block falls as chance does."""
LEAST_LEFT = 1e-4
"""Share of a column's variance beside its trend below which the column is a time itself."""


@dataclass(frozen=True, eq=False)
class RowTrend:
    """Columns with a trend over the rows, and what it leaves of them."""

    columns: tuple[int, ...]
    """Indices of the columns, the one with the strongest trend first."""
    shares: tuple[float, ...]
    """Share of the variance of the ranks of each that a smooth function of the row explains."""
    values: Float[ndarray, "n d"]
    """The table without the trends. Of levels it is their codes that the line is taken out of, of nominal ones whether
    a cell has the most frequent level: a linear model of the probability, as a dependence given the time is sought."""
    blocks: Int[ndarray, "n"]
    """Block of each row, from 0, through which a line was taken out."""
    taken_out: tuple[int, ...]
    """Indices of the columns that are without their trends; they hold numbers."""


def row_trend(values: Float[ndarray, "n d"], kinds: tuple[ColumnKind, ...]) -> RowTrend | None:
    """The trend of a table; None where fewer than two columns have one, or a column of the table stands for it.

    A trend is a smooth function of the row (a cubic and `COSINES` half waves) whose mean power in the ranks of a column
    is beyond that of the next half waves by an F test, which rows that depend on their neighbours pass alike.

    Args:
        values: numbers and codes of levels in the table's order, NaN where missing.
        kinds: kinds of the columns.
    """
    if len(values) < MIN_TESTED_ROWS or _has_a_time(values, kinds):
        return None
    tested = values[:: -(-len(values) // MAX_TESTED_ROWS)]
    scores, owners = scored_columns(tested, kinds, [])
    if not owners.size:
        return None
    shares = _trend_shares(scores)
    of = {int(k): float(shares[owners == k].max()) for k in np.unique(owners)}
    columns = sorted((k for k in of if of[k] > 0), key=lambda k: -of[k])
    if len(columns) < 2 or of[columns[1]] < MIN_SHARE:
        return None
    blocks = _blocks(len(values))
    left = {k: _without_lines(_number(values[:, k], kinds[k]), blocks) for k in sorted(columns)}
    left = {k: x for k, x in left.items() if np.nanvar(x) > LEAST_LEFT * np.nanvar(_number(values[:, k], kinds[k]))}
    without = values.copy()
    for k, residual in left.items():
        without[:, k] = residual
    return RowTrend(tuple(columns), tuple(of[k] for k in columns), without, blocks, tuple(left))


def _number(column: Float[ndarray, "n"], kind: ColumnKind) -> Float[ndarray, "n"]:
    """Numbers and codes as they are, of nominal levels whether a cell has the most frequent one, code 0."""
    return np.where(np.isnan(column), np.nan, column == 0) if kind == "nominal" else column


def _has_a_time(values: Float[ndarray, "n d"], kinds: tuple[ColumnKind, ...]) -> bool:
    """Whether the rows are sorted by a column, whose gaps may stand at an end: it accounts for the order itself."""
    if sort_keys(values, kinds)[0]:
        return True
    numbers = (values[:, k] for k, kind in enumerate(kinds) if kind == "continuous")
    steps = (np.diff(column[~np.isnan(column)]) for column in numbers)
    return any(one.any() and ((one >= 0).all() or (one <= 0).all()) for one in steps)


def _trend_shares(scores: Float[ndarray, "n f"]) -> Float[ndarray, "f"]:
    """Shares of variance that the smooth functions explain; 0 without a trend."""
    low, near = _frequencies(len(scores))
    smooth = scores - scores.mean(0)
    inside = low.T @ smooth
    left = smooth - low @ inside
    total = np.maximum((smooth**2).sum(0), 1e-300)
    power, usual = (inside**2).mean(0), np.maximum(((near.T @ left) ** 2).mean(0), 1e-300)
    p = stats.f.sf(power / usual, low.shape[1], near.shape[1])
    return np.where(p < ALPHA, (inside**2).sum(0) / total, 0.0)


def _frequencies(n: int) -> tuple[Float[ndarray, "n p"], Float[ndarray, "n q"]]:
    """Orthonormal smooth functions of the row without a constant, and half waves next to them in frequency."""
    place = (np.arange(n) + 0.5) / n
    powers = np.stack([(2 * place - 1) ** k for k in range(DEGREE + 1)], 1)
    waves = np.cos(np.pi * place[:, None] * np.arange(1, 1 + min(NEXT_COSINES, n // 2)))
    basis = np.linalg.qr(np.concatenate([powers, waves], 1))[0][:, 1:]
    return basis[:, : DEGREE + COSINES], basis[:, DEGREE + COSINES :]


def _blocks(n: int) -> Int[ndarray, "n"]:
    number = max(1, n // max(LEAST_BLOCK, round(np.sqrt(n))))
    return np.arange(n) * number // n


def _without_lines(column: Float[ndarray, "n"], blocks: Int[ndarray, "n"]) -> Float[ndarray, "n"]:
    """A column less the line through its known cells of each block."""
    found = column.copy()
    for rows in np.split(np.arange(len(column)), np.flatnonzero(np.diff(blocks)) + 1):
        known = rows[~np.isnan(column[rows])]
        if known.size:
            place = known - known.mean()
            centred = column[known] - column[known].mean()
            found[known] = centred - place * (place @ centred / max(1.0, float(place @ place)))
    return found
