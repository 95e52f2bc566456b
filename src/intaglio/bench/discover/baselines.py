"""Trivial baselines of causal discovery: the empty graph, correlations, and sorting by variance or R².

Each takes values [n, d] and whether they are codes of levels, and returns marks [d, d] as `Graph.marks`.
"""

import numpy as np
from jaxtyping import Bool, Float, Int8
from numpy import ndarray
from scipy.stats import norm

from intaglio.causal.graphs.meek import cpdag_of
from intaglio.causal.graphs.paths import cycle
from intaglio.causal.simulate.sortability import r2

Values = Float[ndarray, "n d"]
Marks = Int8[ndarray, "d d"]


def empty(values: Values, discrete: bool) -> Marks:
    """The graph without edges."""
    return np.zeros((values.shape[1],) * 2, np.int8)


def correlation(values: Values, discrete: bool, alpha: float) -> Marks:
    """An undirected edge where a correlation differs from 0 by Fisher's z at the level `alpha`."""
    known = np.arctanh(np.clip(np.corrcoef(values, rowvar=False), -1 + 1e-12, 1 - 1e-12))
    joined = np.abs(known) * np.sqrt(max(1, len(values) - 3)) > norm.ppf(1 - alpha / 2)
    np.fill_diagonal(joined, False)
    return marks_of(joined)


def sort_and_regress(values: Values, discrete: bool, by: str) -> Marks:
    """Columns sorted by variance (arXiv 2102.13647) or by R² (arXiv 2303.18211), each regressed on those before it.

    The papers choose parents among the earlier columns by a Lasso with BIC; here those are parents whose coefficient
    in a regression on all of them differs from 0, by a normal test at 0.01 with Bonferroni over all ordered pairs.
    """
    criterion = values.var(0) if by == "variance" else r2(values[None])[0]
    n, d = values.shape
    order, made = np.argsort(criterion, kind="stable"), np.zeros((d, d), bool)
    centred = values - values.mean(0)
    limit = norm.ppf(1 - 0.01 / max(1, d * (d - 1)))
    for count, child in enumerate(order[1:], 1):
        before = order[:count]
        inverse = np.linalg.pinv(centred[:, before].T @ centred[:, before])
        weights = inverse @ centred[:, before].T @ centred[:, child]
        residual = centred[:, child] - centred[:, before] @ weights
        error = np.sqrt(residual @ residual / max(1, n - count - 1) * np.diag(inverse).clip(1e-300))
        made[before, child] = np.abs(weights) > limit * error
    return class_of(made.astype(np.float64))


def class_of(weights: Float[ndarray, "d d"]) -> Marks:
    """The CPDAG of weighted arrows, [i, j] for i → j, after the weakest arrow was removed from every directed cycle."""
    made, size = weights != 0, np.abs(weights)
    while loop := cycle(made):
        i, j = min(zip(loop, [*loop[1:], loop[0]], strict=True), key=lambda arc: size[arc])
        made[i, j] = False
    directed, undirected = cpdag_of(made)
    return marks_of(directed | undirected)


def marks_of(adjacency: Bool[ndarray, "d d"]) -> Marks:
    """Marks of an adjacency matrix: [i, j] is i → j, both [i, j] and [j, i] are i — j; it need not be a CPDAG."""
    arrow, line = adjacency & ~adjacency.T, adjacency & adjacency.T
    return (2 * arrow + 3 * arrow.T + 3 * line).astype(np.int8)
