"""`FeatureTest`: the randomised conditional independence test (RCIT), in time linear in the rows."""

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray
from scipy.linalg import cho_factor, cho_solve

from intaglio.causal.independence.kernel_test import gamma_tail
from intaglio.causal.independence.variables import Pair, Variables, standardised
from intaglio.randomness import numpy_generator

SIDE_FEATURES, GIVEN_FEATURES = 10, 100
"""Random Fourier features of each tested side, and of each variable of the conditioning set."""
HALF_SCALE = 0.5
"""Factor of conditioning variables beside a tested one."""
WIDTH_ROWS = 500
"""Rows, drawn at random, whose median distance is the width of the kernel."""
RIDGE_SHARE = 1e-6
"""Ridge of the regression on the conditioning features, as a share of their mean variance."""
DRAWS = 3
"""Draws of features whose p-values are averaged near the level."""
NEAR = 2.0
"""Factor around the level within which a p-value is near it."""


class FeatureTest:
    """RCIT: x ⟂ y | z by the covariance of random Fourier features, less their regression on features of z.

    With features √2·cos(wᵀv + b), w ~ N(0, 1/width²), the statistic is n‖Cov(residuals of (x, z/2), of (y, z/2))‖². Its
    null is a sum of χ² variables weighted by the eigenvalues of the covariance of the products of residuals; a gamma
    distribution with its mean and variance stands for it. The time is O(n · features²).

    Features depend on the seed, the variable and the conditioning set alone, never on the order of tests. Where a
    p-value is within a factor 2 of the level, it is the mean over three draws.

    Source: Strobl, Zhang and Visweswaran, Journal of Causal Inference 7 (2019).
    """

    def __init__(self, variables: Variables, alpha: float, seed: int = 0):
        """`alpha`: the level in (0, 1) that p-values will be compared with."""
        self._variables, self._alpha, self._seed = variables, alpha, seed

    def p_values(self, pairs: list[Pair], given: tuple[int, ...]) -> Float[ndarray, "k"]:
        """See `IndependenceTest.p_values`."""
        found = self._drawn(pairs, given, 0)
        near = np.flatnonzero((found > self._alpha / NEAR) & (found < self._alpha * NEAR))
        if near.size:
            some = [pairs[k] for k in near]
            found[near] = np.mean([found[near], *(self._drawn(some, given, draw) for draw in range(1, DRAWS))], axis=0)
        return found

    def _drawn(self, pairs: list[Pair], given: tuple[int, ...], draw: int) -> Float[ndarray, "k"]:
        """The p-values by one draw of features."""
        base = self._features(None, given, draw) if given else None
        sides: dict[int, Float64[ndarray, "n f"]] = {}
        for k in {k for pair in pairs for k in pair}:
            features = self._features(k, given, draw)
            sides[k] = features if base is None else _residuals(features, base)
        return np.array([_p_value(sides[x], sides[y]) for x, y in pairs])

    def _features(self, k: int | None, given: tuple[int, ...], draw: int) -> Float64[ndarray, "n f"]:
        """Centred, scaled features of (variable, z/2), or of the conditioning set alone."""
        random = numpy_generator(self._seed, draw, 0 if k is None else k + 1, *given)
        parts = [*([] if k is None else [(k, 1.0)]), *((j, 1.0 if k is None else HALF_SCALE) for j in given)]
        values = [self._scaled(j) * scale for j, scale in parts]
        own = [self._variables.widths[j] for j, _ in parts]
        free = [value for value, width in zip(values, own, strict=True) if width is None]
        some = random.permutation(len(self._variables))[:WIDTH_ROWS]
        median = median_distance(np.concatenate(free, 1)[some]) if free else 1.0
        count = GIVEN_FEATURES * len(given) if k is None else SIDE_FEATURES
        angles = random.uniform(0, 2 * np.pi, count)
        for value, width in zip(values, own, strict=True):
            angles = angles + value @ random.standard_normal((value.shape[1], count)) / (width or median)
        found = np.sqrt(2.0) * np.cos(angles)
        found -= found.mean(0)
        return found / np.maximum(np.sqrt((found**2).mean(0)), 1e-12)

    def _scaled(self, k: int) -> Float64[ndarray, "n p"]:
        """The variable as numbers, each with mean 0 and variance 1."""
        numbers = self._variables.numbers(k)
        return np.stack([standardised(one) if np.ptp(one) else one for one in numbers.T], 1)


def median_distance(values: Float64[ndarray, "m p"]) -> float:
    """The median of the distances above 0 between rows; 1 where there are none."""
    squares = (values**2).sum(1)
    squared = squares[:, None] + squares - 2 * values @ values.T
    distances = np.sqrt(np.maximum(squared[np.tril_indices(len(values), -1)], 0.0))
    distances = distances[distances > 1e-9]
    return float(np.median(distances)) if distances.size else 1.0


def _residuals(features: Float64[ndarray, "n f"], base: Float64[ndarray, "n g"]) -> Float64[ndarray, "n f"]:
    """The features less their ridge regression on the features of the conditioning set."""
    gram = base.T @ base
    ridge = RIDGE_SHARE * np.trace(gram) / len(gram)
    return features - base @ cho_solve(cho_factor(gram + ridge * np.eye(len(gram))), base.T @ features)


def _p_value(first: Float64[ndarray, "n f"], second: Float64[ndarray, "n g"]) -> float:
    n = len(first)
    statistic = float(n * np.square(first.T @ second / n).sum())
    products = (first[:, :, None] * second[:, None, :]).reshape(n, -1)
    covariance = np.cov(products, rowvar=False, bias=True)
    return gamma_tail(statistic, float(np.trace(covariance)), float(2 * np.vdot(covariance, covariance)))
