"""Ranks and normal scores of columns with missing cells."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import ndtri


def mean_ranks(column: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """Ranks from 1 among the known cells, with mean ranks for ties; NaN where missing."""
    order = np.argsort(column, kind="stable")
    known = order[: len(column) - int(np.isnan(column).sum())]  # NaN sorts last
    ordered = column[known]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)])
    ends = np.append(starts[1:], len(ordered))
    found = np.full(len(column), np.nan)
    found[known] = np.repeat((starts + 1 + ends) / 2, ends - starts)
    return found


def normal_scores(column: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """Standard normal quantiles of (rank - 1/2) / number of known cells; NaN where missing."""
    return ndtri((mean_ranks(column) - 0.5) / max(1, int((~np.isnan(column)).sum())))
