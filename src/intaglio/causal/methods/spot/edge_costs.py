"""The skeleton posterior as a prior: costs of adjacent pairs in units of BIC, and weights of sparsity."""

from math import log

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.special import logit

LARGEST_LOG_ODDS = 8.0
"""Largest absolute log-odds of a pair that are taken: no posterior is to overrule the rows."""
RANGE = (0.2, 5.0)
"""Least and largest weight of a pair's sparsity, over that of the BIC."""


def edge_costs(posterior: Float64[ndarray, "d d"]) -> Float64[ndarray, "d d"]:
    """2 log((1 - s) / s) of each pair, 0 on the diagonal: what an adjacency costs beside the BIC's penalty."""
    with np.errstate(divide="ignore"):
        odds = np.clip(logit(posterior), -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
    np.fill_diagonal(odds, 0.0)
    return -2 * odds


def sparsity_of(costs: Float64[ndarray, "d d"], rows: int) -> Float64[ndarray, "d d"]:
    """λ of each pair, in units of the likelihood of one row: (log n + costs) / (2 n), within `RANGE` of log(n) / (2 n).

    An edge is worth log(n) / 2 in log-likelihood by the BIC, and the log-odds against it by the posterior.
    """
    usual = log(rows) / (2 * rows)
    return np.clip(usual + costs / (2 * rows), RANGE[0] * usual, RANGE[1] * usual)
