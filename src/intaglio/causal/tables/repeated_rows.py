"""Repeated rows: rows that are equal in numbers that hardly ever agree by chance, as in a table that was appended."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.tables.column import ColumnKind

MIN_SHARE = 0.02
"""Least share of rows that repeat another one."""
FINE_AGREEMENT = 0.01
"""Largest probability that two cells of a column of fine numbers agree."""
MIN_FINE = 2
"""Least columns of fine numbers of a table that is tested."""
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
    n = len(values)
    extra = int(pd.DataFrame(values).duplicated().sum())
    if extra < max(5, MIN_SHARE * n):
        return None
    numbers = [values[:, k] for k, kind in enumerate(kinds) if kind == "continuous"]
    fine = [share for share in map(_agreement, numbers) if share < FINE_AGREEMENT]
    by_chance = n * (n - 1) / 2 * float(np.prod(fine))
    return RepeatedRows(n, n - extra) if len(fine) >= MIN_FINE and extra > CHANCE_MARGIN * by_chance else None


def _agreement(column: Float[ndarray, "n"]) -> float:
    """Probability that two different known values of a column, each drawn at random, agree; 1 where all are missing.

    Each value counts once, so that repeated rows do not make the numbers seem coarse.
    """
    known = column[~np.isnan(column)]
    return 1 / len(np.unique(known)) if known.size else 1.0
