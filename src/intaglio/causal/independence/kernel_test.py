"""`KernelTest`: the kernel-based conditional independence test (KCI) with a gamma null."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats
from scipy.linalg import cho_factor, get_lapack_funcs

from intaglio.causal.independence.kernels import Kernel, Kernels, centred
from intaglio.causal.independence.variables import Pair, Variables

RIDGE, RIDGE_STEP = 1e-3, 5.0
"""ε of the kernel ridge regression on the conditioning set, and the factor that it is raised by."""
MOST_FREEDOM = 0.25
"""Share of the rows that the regression may have as degrees of freedom, n − tr R; above it ε is raised."""
LEAST_ROWS = 50
"""Rows below which the gamma null does not hold."""


class KernelTest:
    """KCI: x ⟂ y | z by the Hilbert–Schmidt norm of the covariance of kernel features, less their regression on z.

    With centred kernels [n, n], R = ε(K_z + εI)⁻¹, A = R K_(x, z/2) R and B = R K_(y, z/2) R the statistic is Σ A∘B.
    Under independence it is a sum of χ² variables, weighted by the eigenvalues of A∘B; a gamma distribution with its
    mean κ tr(A∘B) and its variance 2κ²‖A∘B‖² stands for it, which takes traces and no eigenvalues. Without z the
    statistic is Σ K_x∘K_y, of mean tr K_x · tr K_y / n and variance 2‖K_x‖²‖K_y‖² / n².

    κ = ‖R²‖² / Σ_i (R²)_ii², at least 1, accounts for residuals that are correlated where the regression takes many
    degrees of freedom, as with many domains in z: E Σ A∘B of independent noise is ‖R²‖² and not Σ (R²)_ii². Without it
    such tests reject far too often. It tends to 1 as rows grow, where the test is the published one.

    Both sides carry z, so that a test is symmetric and each side is computed once for all pairs with one z. The time is
    O(n³) a side and O(n²) a pair. Source: Zhang, Peters, Janzing and Schölkopf, arXiv 1202.3775; κ is our own.
    """

    def __init__(self, variables: Variables, memory: int = 2**29):
        self._kernels, self._rows = Kernels(variables, memory), len(variables)
        self._marginal: dict[int, Kernel] = {}
        self._most = memory // max(1, 8 * self._rows**2)

    def p_values(self, pairs: list[Pair], given: tuple[int, ...]) -> Float[ndarray, "k"]:
        """See `IndependenceTest.p_values`."""
        if not given:
            return np.array([marginal_p(self._marginal_kernel(x), self._marginal_kernel(y)) for x, y in pairs])
        regressed = residual_maker(centred(self._kernels.given(given)))
        inflation = residual_correlation(regressed)
        sides: dict[int, Kernel] = {}

        def side(k: int) -> Kernel:
            if k not in sides:
                if len(sides) > max(1, self._most):
                    sides.pop(next(iter(sides)))
                sides[k] = regressed @ centred(self._kernels.beside(k, given)) @ regressed
            return sides[k]

        return np.array([conditional_p(side(x), side(y), inflation) for x, y in pairs])

    def _marginal_kernel(self, k: int) -> Kernel:
        if k not in self._marginal:
            if len(self._marginal) > max(1, self._most):
                self._marginal.pop(next(iter(self._marginal)))
            self._marginal[k] = centred(self._kernels.marginal(k))
        return self._marginal[k]


def residual_maker(kernel: Kernel) -> Kernel:
    """R = ε(K + εI)⁻¹ [n, n] of a centred kernel by Cholesky, with ε raised until its degrees of freedom are few."""
    n, ridge = len(kernel), RIDGE
    while True:
        found = ridge * inverse(kernel + ridge * np.eye(n))
        if n - np.trace(found) <= MOST_FREEDOM * n:
            return found
        ridge *= RIDGE_STEP


def inverse(kernel: Kernel) -> Kernel:
    """The inverse of a positive definite matrix by Cholesky, symmetric to the last bit."""
    lower, _ = get_lapack_funcs(("potri",), (kernel,))[0](cho_factor(kernel, lower=True)[0], lower=True)
    lower = np.tril(lower)
    return lower + np.tril(lower, -1).T


def residual_correlation(regressed: Kernel) -> float:
    """κ = ‖R²‖² / Σ_i (R²)_ii²."""
    squared = regressed @ regressed
    return float(np.vdot(squared, squared) / np.square(np.diagonal(squared)).sum())


def null_moments(first: Kernel, second: Kernel) -> tuple[float, float]:
    """tr(A∘B) and 2‖A∘B‖²: mean and variance of Σ λ_k χ²_k, λ the eigenvalues of A∘B."""
    product = first * second
    return float(np.trace(product)), float(2 * np.vdot(product, product))


def conditional_p(first: Kernel, second: Kernel, inflation: float) -> float:
    """P-value of Σ A∘B by its gamma null, with eigenvalues inflated by κ."""
    mean, variance = null_moments(first, second)
    return gamma_tail(float(np.vdot(first, second)), inflation * mean, inflation**2 * variance)


def marginal_p(first: Kernel, second: Kernel) -> float:
    """P-value of Σ K_x∘K_y of centred kernels by its gamma null."""
    n = len(first)
    mean = float(np.trace(first) * np.trace(second) / n)
    variance = float(2 * np.vdot(first, first) * np.vdot(second, second) / n**2)
    return gamma_tail(float(np.vdot(first, second)), mean, variance)


def gamma_tail(statistic: float, mean: float, variance: float) -> float:
    """P(X ≥ statistic) of the gamma distribution with this mean and variance; 1 where it is all at 0."""
    if not (mean > 0 and variance > 0):
        return 1.0
    return float(stats.gamma.sf(statistic, mean**2 / variance, scale=variance / mean))
