"""Gaussian and delta kernels of variables, from squared distances that are computed once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from intaglio.causal.independence.variables import Variables

Kernel = Float64[ndarray, "n n"]
MARGINAL_WIDTHS = ((200, 0.8), (1200, 0.5), (float("inf"), 0.3))
"""Rows below which a kernel has a width, in standard deviations, in a test without conditioning."""
CONDITIONAL_WIDTHS = ((200, 1.2), (1200, 0.7), (float("inf"), 0.4))
"""The same in a test with conditioning; both are those of the reference implementation of the test."""
HALF, OTHER_LEVEL = 0.25, 0.5
"""Factor of squared distances of conditioning variables beside a tested one, which enter at half their scale; and the
kernel of two different levels there, midway between those of the same level and of no condition."""


def width_for(rows: int, *, conditional: bool) -> float:
    """The width of a Gaussian kernel of one standardised variable, by the number of rows."""
    table = CONDITIONAL_WIDTHS if conditional else MARGINAL_WIDTHS
    return next(width for most, width in table if rows < most)


def centred(kernel: Kernel) -> Kernel:
    """The kernel with rows and columns of mean 0: HKH, H = I − 1/n."""
    rows = kernel.mean(0)
    return kernel - rows - rows[:, None] + rows.mean()


def squared_distances(values: Float64[ndarray, "n p"]) -> Kernel:
    """Squared Euclidean distances between rows."""
    if values.shape[1] == 1:
        return np.square(values - values.T)
    products = values @ values.T
    squares = np.diagonal(products)
    found = np.maximum(squares[:, None] + squares - 2 * products, 0.0)
    np.fill_diagonal(found, 0.0)
    return found


def gaussian(values: Float64[ndarray, "n p"], width: float) -> Kernel:
    """exp(−½ ‖v − v'‖² / width²)."""
    return np.exp(squared_distances(values) * (-0.5 / width**2))


def delta(codes: ndarray) -> Kernel:
    """1 where two rows have one code, else 0."""
    return (codes[:, None] == codes).astype(np.float64)


class Kernels:
    """Kernels of sets of variables; the squared distances of each one are kept, as far as `memory` goes.

    The kernel of a set is the product over its variables: for levels 1[v = v'], whatever their codes; for numbers
    exp(−½ θ d²) with θ = 1 / (width² · numbers in the conditioning set), or their own width where they have one.
    """

    def __init__(self, variables: Variables, memory: int = 2**29):
        """`memory`: bytes of distances that are kept."""
        self.variables, self._kept = variables, {}
        self._most = memory // max(1, 8 * len(variables) ** 2)

    def marginal(self, k: int) -> Kernel:
        """The kernel of one variable in a test without conditioning."""
        theta = width_for(len(self.variables), conditional=False) ** -2
        return self._product([(k, 1.0)], theta)

    def given(self, given: Sequence[int]) -> Kernel:
        """The kernel of a conditioning set."""
        return self._product([(k, 1.0) for k in given], self._theta(given))

    def beside(self, k: int, given: Sequence[int]) -> Kernel:
        """The kernel of (variable, half of the conditioning set): of levels, (1 + 1[v = v']) / 2."""
        return self._product([(k, 1.0), *((other, HALF) for other in given)], self._theta(given))

    def _theta(self, given: Sequence[int]) -> float:
        numbers = sum(not self.variables.levels[k] and self.variables.widths[k] is None for k in given)
        return width_for(len(self.variables), conditional=True) ** -2 / max(1, numbers)

    def _product(self, factors: Sequence[tuple[int, float]], theta: float) -> Kernel:
        """∏ over (variable, factor of its squared distances)."""
        exponent = np.zeros((len(self.variables),) * 2)
        matches: list[tuple[Bool[ndarray, "n n"], float]] = []
        for k, factor in factors:
            if self.variables.levels[k]:
                matches.append((self._distances(k) == 0, 0.0 if factor == 1.0 else OTHER_LEVEL))
            else:
                width = self.variables.widths[k]
                exponent += self._distances(k) * (-0.5 * factor * (theta if width is None else width**-2))
        kernel = np.exp(exponent)
        for same, other in matches:
            kernel *= np.where(same, 1.0, other)
        return kernel

    def _distances(self, k: int) -> Kernel:
        if k not in self._kept:
            found = squared_distances(self.variables.values[:, [k]])
            if len(self._kept) >= self._most:
                return found
            self._kept[k] = found
        return self._kept[k]
