"""`GTest`: the likelihood-ratio test of independence in contingency tables, for levels alone."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import stats
from scipy.special import xlogy

from intaglio.causal.independence.variables import Pair, Variables


class GTest:
    """G-test: x ⟂ y | z by G² = 2 Σ observed · ln(observed / expected), over the cells of all strata of z.

    Degrees of freedom are (rows − 1)(columns − 1) of each stratum, where rows and columns without a case do not count.

    Raises:
        ValueError: a column of numbers.
    """

    def __init__(self, variables: Variables):
        if not all(variables.levels):
            raise ValueError("the G-test takes levels alone")
        self._variables = variables

    def p_values(self, pairs: list[Pair], given: tuple[int, ...]) -> Float[ndarray, "k"]:
        """See `IndependenceTest.p_values`."""
        codes = np.stack([self._variables.codes(k) for k in given], 1) if given else np.zeros((len(self._variables), 1))
        strata = np.unique(codes, axis=0, return_inverse=True)[1].ravel()
        return np.array([self._p_value(strata, x, y) for x, y in pairs])

    def _p_value(self, strata: Int[ndarray, "n"], x: int, y: int) -> float:
        shape = (int(strata.max()) + 1, self._variables.levels[x], self._variables.levels[y])
        cell = np.ravel_multi_index((strata, self._variables.codes(x), self._variables.codes(y)), shape)
        observed = np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)
        rows, columns = observed.sum(2), observed.sum(1)
        expected = rows[:, :, None] * columns[:, None, :] / np.maximum(observed.sum((1, 2)), 1.0)[:, None, None]
        statistic = 2 * (xlogy(observed, observed) - xlogy(observed, expected)).sum()
        freedom = int((((rows > 0).sum(1) - 1) * ((columns > 0).sum(1) - 1)).sum())
        return float(stats.chi2.sf(statistic, freedom)) if freedom else 1.0
