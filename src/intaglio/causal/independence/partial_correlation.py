"""`PartialCorrelation`: the F-test of linear dependence given others, with indicators of levels."""

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray
from scipy import stats

from intaglio.causal.independence.variables import Pair, Variables


class PartialCorrelation:
    """Partial correlation: x ⟂ y | z by Wilks's Λ of the residuals of x and y on z; linear dependence is all it sees.

    Numbers stand for themselves, levels for indicators of all but the first. For two columns of numbers it is the exact
    test of the partial correlation r, F = (n − 2 − |z|) r² / (1 − r²); for blocks it is Rao's F, exact where one of
    them has at most two columns (C. R. Rao, 1951).
    """

    def __init__(self, variables: Variables):
        self._variables = variables

    def p_values(self, pairs: list[Pair], given: tuple[int, ...]) -> Float[ndarray, "k"]:
        """See `IndependenceTest.p_values`."""
        n = len(self._variables)
        base = orthonormal(np.concatenate([np.ones((n, 1)), *(self._variables.numbers(k) for k in given)], axis=1))
        sides = {}
        for k in {k for pair in pairs for k in pair}:
            own = self._variables.numbers(k)
            sides[k] = orthonormal(own - base @ (base.T @ own))
        return np.array([wilks_p(sides[x], sides[y], n - base.shape[1]) for x, y in pairs])


def orthonormal(columns: Float64[ndarray, "n p"]) -> Float64[ndarray, "n r"]:
    """An orthonormal basis [n, rank] of the columns' span."""
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, sizes > 1e-9 * max(1.0, float(sizes.max(initial=0.0)))]


def wilks_p(first: Float64[ndarray, "n p"], second: Float64[ndarray, "n q"], freedom: int) -> float:
    """P-value of Λ = ∏ (1 − ρ²) over the canonical correlations of two orthonormal bases, by Rao's F.

    `freedom` is the rows less the parameters of the regression on the conditioning set.
    """
    p, q = first.shape[1], second.shape[1]
    inner = freedom - (p + q + 1) / 2
    if not p or not q or inner <= 0:
        return 1.0
    correlations = np.linalg.svd(first.T @ second, compute_uv=False)
    log_wilks = float(np.log1p(-np.minimum(correlations**2, 1 - 1e-15)).sum())
    power = np.sqrt((p**2 * q**2 - 4) / (p**2 + q**2 - 5)) if p**2 + q**2 > 5 else 1.0
    below = inner * power - p * q / 2 + 1
    if below <= 0:
        return 1.0
    ratio = np.expm1(-log_wilks / power) * below / (p * q)
    return float(stats.f.sf(ratio, p * q, below))
