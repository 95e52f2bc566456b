"""Modules, P(Y) and P(Y | Q), as functions of the context: inner products of their kernel embeddings.

Entry (s, t) of a module matrix M [m, m] is the inner product of the module's embeddings at the points s and t of the
context. Sources: Huang et al., JMLR 21 (2020), arXiv 1903.01672.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray
from scipy.linalg import cho_factor, cho_solve

from intaglio.causal.independence.kernels import Kernel, centred, delta, gaussian
from intaglio.causal.independence.variables import Variables

WIDTH = 0.5
"""Width of the Gaussian kernel of a variable, in its standard deviations; of k variables, times √k."""
RIDGE = 0.1
"""λ of the regression on causes and context."""
MOST_ROWS, MOST_POINTS = 1500, 200
"""Most rows that modules are estimated from, and most points of a continuous context that they are compared at."""

ModuleMatrix = Float64[ndarray, "m m"]


@dataclass(frozen=True, eq=False)
class Modules:
    """Estimates of modules over the context, which is the last of the variables."""

    variables: Variables
    """Of at most `MOST_ROWS` rows."""
    points: Int[ndarray, "m"]
    """Rows of the variables where modules are compared, in the order of the context: one a domain, or evenly spread."""

    @classmethod
    def of(cls, variables: Variables) -> "Modules":
        """Modules from all rows, or from `MOST_ROWS` of them spread evenly over the context."""
        context = variables.values[:, -1]
        order = np.argsort(context, kind="stable")
        if len(order) > MOST_ROWS and not variables.levels[-1]:
            order = order[spread_evenly(len(order), MOST_ROWS)]
        elif len(order) > MOST_ROWS:
            order = _of_each_domain(order, context[order])
        part = Variables(variables.values[order], variables.levels, variables.widths)
        firsts = np.flatnonzero(np.diff(part.values[:, -1], prepend=np.nan) != 0)
        many = len(firsts) > MOST_POINTS and not part.levels[-1]
        return cls(part, firsts[spread_evenly(len(firsts), MOST_POINTS)] if many else firsts)

    def marginal(self, k: int) -> ModuleMatrix:
        """M_Q = E (K_C + λI)⁻¹ K_Q (K_C + λI)⁻¹ Eᵀ, with E [m, n] the kernel of the points and all rows."""
        return self.joint((k,))

    def joint(self, of: tuple[int, ...]) -> ModuleMatrix:
        """The same of several variables together, with the product of their kernels."""
        context = self._context()
        smoother = _solved(context, context[self.points].T)
        return smoother.T @ self._kernel(of) @ smoother

    def conditional(self, effect: int, causes: tuple[int, ...]) -> ModuleMatrix:
        """M_(Y|Q) = n⁻² E (K_Q³ ∘ (J K_Y J)) Eᵀ with J = (K_Q∘K_C + λI)⁻¹: P(Y | Q = q) for q as in all rows pooled."""
        context, given = self._context(), self._kernel(causes)
        inverse = _solved(given * context, np.eye(len(given)))
        weights = inverse @ self._kernel((effect,)) @ inverse
        at_points = context[self.points]
        return at_points @ ((given @ given @ given) * weights) @ at_points.T / len(given) ** 2

    def module(self, effect: int, causes: tuple[int, ...]) -> ModuleMatrix:
        """P(effect | causes), or P(effect) where it has none."""
        return self.conditional(effect, causes) if causes else self.marginal(effect)

    def _context(self) -> Kernel:
        last = len(self.variables.levels) - 1
        if self.variables.levels[last]:
            return delta(self.variables.values[:, last])
        return gaussian(self.variables.values[:, [last]], self.variables.widths[last] or WIDTH)

    def _kernel(self, of: tuple[int, ...]) -> Kernel:
        numbers = [k for k in of if not self.variables.levels[k]]
        kernel = np.ones((len(self.variables),) * 2)
        if numbers:
            kernel = gaussian(self.variables.values[:, numbers], WIDTH * len(numbers) ** 0.5)
        for k in set(of) - set(numbers):
            kernel = kernel * delta(self.variables.values[:, k])
        return kernel


def similarities(module: ModuleMatrix) -> ModuleMatrix:
    """G = exp(−D / 2m) of the squared distances D = M_ss + M_tt − 2M_st, m the median of those between points."""
    norms = np.diagonal(module)
    squared = np.maximum(norms[:, None] + norms - 2 * module, 0.0)
    median = float(np.median(squared[np.tril_indices(len(module), -1)])) if len(module) > 1 else 0.0
    return np.exp(-squared / (2 * median)) if median > 0 else (squared == 0).astype(np.float64)


def dependence(first: ModuleMatrix, second: ModuleMatrix) -> float:
    """Normalised HSIC of two matrices of similarities, tr(G̃₁G̃₂) / (‖G̃₁‖‖G̃₂‖), in [0, 1]; 0 where one is constant."""
    one, two = centred(first), centred(second)
    size = float(np.sqrt(np.vdot(one, one) * np.vdot(two, two)))
    return float(np.clip(np.vdot(one, two) / size, 0.0, 1.0)) if size > 0 else 0.0


def spread_evenly(n: int, most: int) -> Int[ndarray, "k"]:
    """At most `most` of the indices 0..n − 1, evenly spaced, first and last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def _of_each_domain(order: Int[ndarray, "n"], domains: Float64[ndarray, "n"]) -> Int[ndarray, "k"]:
    """Rows of each domain, evenly spaced, in the shares of the whole, two at least."""
    kept = []
    for domain in np.unique(domains):
        rows = order[domains == domain]
        kept.append(rows[spread_evenly(len(rows), max(2, round(len(rows) * MOST_ROWS / len(order))))])
    return np.concatenate(kept)


def _solved(kernel: Kernel, right: Float64[ndarray, "n m"]) -> Float64[ndarray, "n m"]:
    return cho_solve(cho_factor(kernel + RIDGE * np.eye(len(kernel)), lower=True), right)
