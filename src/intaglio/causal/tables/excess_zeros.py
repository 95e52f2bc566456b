"""Excess zeros: columns of counts with far more zeros than a Poisson law of their mean has, as in counts of genes."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.tables.column import ColumnKind

MIN_SHARE = 0.2
"""Least share of zeros among the known cells."""
MIN_EXCESS = 0.1
"""Least difference of that share from exp(-mean)."""
MIN_COUNT = 3
"""Least largest count; with fewer a column tells whether, not how often."""


def columns_of_excess_zeros(values: Float[ndarray, "n d"], kinds: tuple[ColumnKind, ...]) -> list[int]:
    """Indices of the columns of whole numbers from 0 with more zeros than Poisson's exp(-mean).

    Args:
        values: numbers and codes of levels, NaN where missing.
        kinds: kinds of the columns; nominal and binary ones are no counts.
    """
    return [k for k, kind in enumerate(kinds) if kind in ("continuous", "ordinal") and _excess(values[:, k])]


def _excess(column: Float[ndarray, "n"]) -> bool:
    known = column[~np.isnan(column)]
    if not known.size or known.min() != 0 or known.max() < MIN_COUNT or (known % 1 != 0).any():
        return False
    share = float((known == 0).mean())
    return share >= MIN_SHARE and share - float(np.exp(-known.mean())) >= MIN_EXCESS
