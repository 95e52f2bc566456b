"""Severities of pairs given large sets: all neighbours of one variable, and all other variables.

In a graph without hidden causes a pair that is not adjacent is separated by the parents of one of the two, which are
among its neighbours; the small sets of a cascade miss that where there are many parents.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray

from intaglio.causal.methods.spot.partial_correlations import severities

PULL = 1e-12
"""Added to the diagonal of correlation matrices, so that all of them have an inverse."""


def severities_given_neighbours(
    correlation: Float64[ndarray, "d d"], rows: int, neighbours: Bool[ndarray, "d d"]
) -> Float64[ndarray, "d d"]:
    """[i, j]: severity of i and j given all neighbours of i but j; NaN on the diagonal or where the rows are too few.

    Args:
        correlation: correlation matrix with a diagonal of ones.
        rows: rows that it was computed from.
        neighbours: row i has the neighbours of i; False on the diagonal.
    """
    d = len(correlation)
    pulled = correlation + PULL * np.eye(d)
    found = np.full((d, d), np.nan)
    for i in range(d):
        near = np.flatnonzero(neighbours[i])
        far = np.flatnonzero(~neighbours[i] & (np.arange(d) != i))
        found[i, near] = severities(_given_each_other(pulled, i, near), rows, len(near) - 1)
        found[i, far] = severities(_given(pulled, i, far, near), rows, len(near))
    return found


def severities_given_all(correlation: Float64[ndarray, "d d"], rows: int) -> Float64[ndarray, "d d"]:
    """[i, j]: severity of i and j given all others; NaN on the diagonal or where the rows are too few."""
    d = len(correlation)
    precision = np.linalg.inv(correlation + PULL * np.eye(d))
    scale = np.sqrt(precision.diagonal())
    found = severities(precision / np.outer(scale, scale), rows, d - 2)
    np.fill_diagonal(found, np.nan)
    return found


def _given_each_other(correlation: Float64[ndarray, "d d"], i: int, near: Int64[ndarray, "k"]) -> Float64[ndarray, "k"]:
    """Partial correlations of i and each of `near`, given the rest of `near`."""
    inside = np.concatenate([[i], near])
    precision = np.linalg.inv(correlation[np.ix_(inside, inside)])
    return -precision[0, 1:] / np.sqrt(precision[0, 0] * precision.diagonal()[1:])


def _given(
    correlation: Float64[ndarray, "d d"], i: int, far: Int64[ndarray, "m"], near: Int64[ndarray, "k"]
) -> Float64[ndarray, "m"]:
    """Partial correlations of i and each of `far`, given all of `near`."""
    both = np.concatenate([[i], far])
    across = correlation[np.ix_(near, both)]
    explained = np.linalg.solve(correlation[np.ix_(near, near)], across)
    own = np.maximum(correlation.diagonal()[both] - (across * explained).sum(0), PULL)
    return (correlation[i, far] - across[:, 0] @ explained[:, 1:]) / np.sqrt(own[0] * own[1:])
