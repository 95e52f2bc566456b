"""Excess zeros: counts with far more zeros than a Poisson law of their mean has, or logarithms of such, as of genes."""

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
WHOLE, FARTHEST = 1e-4, 0.1
"""Largest relative and largest distance from a whole number, as logarithms are often stored in single precision."""
MIN_DIFFERENT = 10
"""Fewest different numbers beside the smallest one, where these are no counts."""


def columns_of_excess_zeros(values: Float[ndarray, "n d"], kinds: tuple[ColumnKind, ...]) -> list[int]:
    """Indices of the columns of counts with more zeros than Poisson's exp(-mean), or of logarithms of such counts.

    Where counts were scaled before the logarithm, such as by the depth of their row, the column is one whose
    smallest number stands for 0 and is the most frequent among numbers that are not evenly spaced.

    Args:
        values: numbers and codes of levels, NaN where missing.
        kinds: kinds of the columns; nominal and binary ones are no counts, and only numbers are logarithms.
    """
    found = []
    for k, kind in enumerate(kinds):
        known = values[~np.isnan(values[:, k]), k]
        if known.size and kind in ("continuous", "ordinal") and _excess(known, logarithms=kind == "continuous"):
            found.append(k)
    return found


def _excess(known: Float[ndarray, "m"], *, logarithms: bool) -> bool:
    share = float((known == known.min()).mean())
    if share < MIN_SHARE:
        return False
    if (known % 1 == 0).all():
        return bool(known.min() == 0) and _more_than_poisson(known)
    if not logarithms or _evenly_spaced(known):
        return False
    return _more_than_poisson(counts) if (counts := _counts_of(known)) is not None else _lone_smallest(known, share)


def _more_than_poisson(counts: Float[ndarray, "m"]) -> bool:
    excess = float((counts == 0).mean()) - float(np.exp(-counts.mean()))
    return bool(counts.max() >= MIN_COUNT) and excess >= MIN_EXCESS


def _counts_of(known: Float[ndarray, "m"]) -> Float[ndarray, "m"] | None:
    """The counts c of which the numbers are a · log(1 + c) + b; None where they are not."""
    different = np.unique(known)
    if len(different) <= MIN_COUNT:
        return None
    # The two smallest numbers are those of 0 and 1.
    powers = (known - different[0]) / (different[1] - different[0])
    if powers.max() > 50:
        return None
    counts = 2.0**powers - 1
    return np.round(counts) if _are_whole(counts) else None


def _lone_smallest(known: Float[ndarray, "m"], share: float) -> bool:
    """Whether the smallest number stands out, as one that many cells hold, and more than any of many others."""
    others, counts = np.unique(known[known > known.min()], return_counts=True)
    return len(others) >= MIN_DIFFERENT and bool(counts.max() <= share * len(known))


def _evenly_spaced(known: Float[ndarray, "m"]) -> bool:
    """Whether all numbers are whole multiples of one step from the smallest, as where they are rounded."""
    different = np.unique(known)
    if len(different) < 3:
        return True
    steps = (different - different[0]) / np.diff(different).min()
    return _are_whole(steps)


def _are_whole(numbers: Float[ndarray, "m"]) -> bool:
    return bool((np.abs(numbers - np.round(numbers)) <= np.minimum(WHOLE * (1 + numbers), FARTHEST)).all())
