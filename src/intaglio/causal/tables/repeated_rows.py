"""Repeated rows: rows that are equal in numbers that hardly ever agree by chance, as in a table that was appended."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.causal.tables.column import ColumnKind

MIN_SHARE = 0.02
"""Least share of rows that repeat another one."""
FINE_AGREEMENT = 0.01
"""Largest probability that a column of fine numbers agrees in two rows."""
CHANCE_MARGIN = 100.0
"""Repeated rows over those that independent columns of fine numbers have by chance, from which chance is ruled out."""


@dataclass(frozen=True)
class RepeatedRows:
    """Rows that repeat others."""

    rows: int
    """Rows of the table."""
    distinct: int
    """Different rows."""


def repeated_rows(values: Float[ndarray, "n d"], kinds: tuple[ColumnKind, ...]) -> RepeatedRows | None:
    """The number of rows that repeat others; None where there are few, or levels and coarse numbers explain them.

    Args:
        values: numbers and codes of levels, NaN where missing.
        kinds: kinds of the columns.
    """
    n, first = len(values), distinct_rows(values)
    extra = n - int(first.sum())
    if extra < max(5, MIN_SHARE * n):
        return None
    numbers = [values[first, k] for k, kind in enumerate(kinds) if kind == "continuous"]
    fine = [share for share in map(_agreement, numbers) if share < FINE_AGREEMENT]
    by_chance = n * (n - 1) / 2 * float(np.prod(fine))
    return RepeatedRows(n, n - extra) if fine and extra > CHANCE_MARGIN * by_chance else None


def distinct_rows(values: Float[ndarray, "n d"]) -> Bool[ndarray, "n"]:
    """Whether a row is the first of its content."""
    return ~pd.DataFrame(values).duplicated().to_numpy()


def _agreement(column: Float[ndarray, "n"]) -> float:
    """Probability that a column agrees by chance in two rows, estimated from different rows; 1 where all are missing.

    It is the share of pairs of rows that do agree, as where a number belongs to a group of rows, or the least distance
    of two numbers over their range, which is larger where they are rounded.
    """
    known, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    if len(known) < 2:
        return 1.0
    pairs = counts.sum() * (counts.sum() - 1) / 2
    return max(float((counts * (counts - 1)).sum() / 2 / pairs), float(np.diff(known).min() / (known[-1] - known[0])))
