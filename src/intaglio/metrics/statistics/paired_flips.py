"""Tests of paired differences by flipping signs: the p-values where origins may be swapped within each pair."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.randomness import numpy_generator

AT_ONCE = 1000
"""Rows of signs that are multiplied together."""
ROUNDING = 1e-9
"""Share of the largest possible sum up to which sums count as equal."""


def flipped_p(differences: Float[ndarray, "n k"], flips: int, seed: int) -> Float[ndarray, "k"]:
    """Two-sided p-values of each column's sum, over swaps within pairs: a swap turns a difference's sign.

    All 2^n ways are counted where they are no more than `flips` + 1; else (1 + the random ones whose sum is as far from
    0) / (`flips` + 1).
    """
    count = len(differences)
    reached = np.abs(differences.sum(0)) - ROUNDING * np.abs(differences).sum(0)
    exact = count < 60 and 2**count <= flips + 1
    if exact:
        ways = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return (np.abs(ways @ differences) >= reached).mean(0)
    source, found = numpy_generator(seed, 0), np.ones(differences.shape[1])
    for first in range(0, flips, AT_ONCE):
        signs = 1.0 - 2.0 * source.integers(0, 2, (min(AT_ONCE, flips - first), count))
        found += (np.abs(signs @ differences) >= reached).sum(0)
    return found / (flips + 1)


def smallest_p(count: int, flips: int) -> float:
    """The smallest p-value that so many pairs and flips can give."""
    return 2 / 2**count if count < 60 and 2**count <= flips + 1 else 1 / (flips + 1)
