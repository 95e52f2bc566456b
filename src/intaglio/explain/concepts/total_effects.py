"""Total Sobol' indices of a function of numbers in [0, 1]: the share of its variance that is left to one of them."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import qmc

LEAST_VARIANCE = 1e-12
"""Variance below which a function is the same everywhere, and all indices are 0."""


def total_effects(
    function: Callable[[Float[ndarray, "m k"]], Float[ndarray, "m"]], count: int, points: int, seed: int
) -> Float[ndarray, "k"]:
    """Total indices, the mean variance over number i alone, all others known, over the whole variance.

    By Jansen's estimator: ST_i = sum_j (f(A_j) - f(A_j with number i of B_j))^2 / (2 n Var f).

    A and B are the halves of a scrambled Sobol' sequence of 2 k dimensions: without scrambling its first points are too
    regular for so few. The function is asked `points` (count + 1) times.

    Args:
        function: of rows of k numbers.
        count: numbers k.
        points: rows n of either half, a power of two.
        seed: of the scrambling.
    """
    sequence = qmc.Sobol(2 * count, scramble=True, rng=np.random.default_rng(seed)).random(points)
    first, second = sequence[:, :count], sequence[:, count:]
    mixed = np.repeat(first[None], count, 0)
    for place in range(count):
        mixed[place, :, place] = second[:, place]
    values = np.asarray(function(np.concatenate([first, mixed.reshape(-1, count)])), np.float64)
    base, moved = values[:points], values[points:].reshape(count, points)
    variance = float(base.var())
    return np.zeros(count) if variance < LEAST_VARIANCE else ((base - moved) ** 2).mean(1) / (2 * variance)
