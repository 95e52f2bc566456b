"""`MaternProcess`: a Gaussian process with a Matérn 5/2 kernel and known variances of its points."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

JITTER = 1e-8
LENGTH_BOUNDS, SIGNAL_BOUNDS, NOISE_BOUNDS = (0.05, 5.0), (np.exp(-5.0), np.exp(4.0)), (1e-6, 0.3)
"""Bounds of the hyper-parameters, for standardised values."""
LENGTH_MEDIAN, LENGTH_LOG_SD = 0.5, 1.0
"""Log-normal prior of each length scale."""
Points = Float[ndarray, "n k"]
Values = Float[ndarray, "n"]


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters: a length scale for each dimension, the signal's variance, and a fitted noise's."""

    lengths: tuple[float, ...]
    signal: float = 1.0
    noise: float = 0.0


@dataclass(frozen=True, eq=False)
class MaternProcess:
    """A process with zero mean, given values of some points.

    k(r) = s² (1 + √5 r + 5 r²/3) exp(-√5 r), with r² the sum of squared differences over length scales.
    """

    points: Points
    values: Values
    variances: Values
    """Known variance of each value, beside the noise of `hyper`."""
    hyper: Hyper

    @cached_property
    def _factor(self) -> Float[ndarray, "n n"]:
        noise = self.variances + self.hyper.noise + JITTER
        return cholesky(matern(self.points, self.points, self.hyper) + np.diag(noise), lower=True)

    @cached_property
    def _weights(self) -> Values:
        return cho_solve((self._factor, True), self.values)

    def mean(self, points: Float[ndarray, "m k"]) -> Float[ndarray, "m"]:
        """Posterior mean at further points."""
        return matern(points, self.points, self.hyper) @ self._weights

    def covariance(self, points: Float[ndarray, "m k"]) -> Float[ndarray, "m m"]:
        """Joint posterior covariance of the process, without noise, at further points."""
        half = solve_triangular(self._factor, matern(self.points, points, self.hyper), lower=True)
        return matern(points, points, self.hyper) - half.T @ half

    def variance(self, points: Float[ndarray, "m k"]) -> Float[ndarray, "m"]:
        """The diagonal of `covariance`, at least 0."""
        half = solve_triangular(self._factor, matern(self.points, points, self.hyper), lower=True)
        return np.maximum(self.hyper.signal - (half**2).sum(0), 0.0)

    def log_likelihood(self) -> float:
        """Log marginal likelihood of the values."""
        n = len(self.values)
        fit = self.values @ self._weights
        return float(-0.5 * fit - np.log(np.diagonal(self._factor)).sum() - 0.5 * n * np.log(2 * np.pi))

    def left_out(self) -> Values:
        """The mean of each point given all others."""
        inverse = cho_solve((self._factor, True), np.eye(len(self.values)))
        return self.values - self._weights / np.diagonal(inverse)


def matern(a: Points, b: Float[ndarray, "m k"], hyper: Hyper) -> Float[ndarray, "n m"]:
    """Covariances of the process between points."""
    lengths = np.array(hyper.lengths)
    difference = (a[:, None] - b[None]) / lengths
    r = np.sqrt(5.0 * (difference**2).sum(-1))
    return hyper.signal * (1 + r + r**2 / 3) * np.exp(-r)


def fitted(points: Points, values: Values, variances: Values, starts: int = 6) -> MaternProcess:
    """The process of the largest log marginal likelihood with the prior of its length scales.

    Args:
        points: in the unit cube, for which the bounds of the length scales are meant.
        values: standardised.
        variances: known variance of each value.
        starts: starting points of the search, 1 or more; fixed ones, so that the same points give the same process.
    """
    bounds = np.log([LENGTH_BOUNDS] * points.shape[1] + [SIGNAL_BOUNDS, NOISE_BOUNDS])
    generator = np.random.default_rng(0)
    first = np.log([LENGTH_MEDIAN] * points.shape[1] + [1.0, 1e-3])
    others = generator.uniform(bounds[:, 0], bounds[:, 1], (starts - 1, len(bounds)))
    squares = (points[:, None] - points[None]) ** 2
    given = (squares, values, variances)
    found = [minimize(_loss, start, given, "L-BFGS-B", jac=True, bounds=bounds) for start in (first, *others)]
    best = np.exp(min(found, key=lambda one: one.fun).x)
    return MaternProcess(points, values, variances, Hyper(tuple(best[:-2].tolist()), float(best[-2]), float(best[-1])))


def _loss(
    theta: Float[ndarray, "h"], squares: Float[ndarray, "n n k"], values: Values, variances: Values
) -> tuple[float, Float[ndarray, "h"]]:
    """Negative log posterior of the logarithms of lengths, signal and noise, and its gradient."""
    scaled = squares / np.exp(2 * theta[:-2])
    signal, noise = np.exp(theta[-2:])
    r = np.sqrt(5 * scaled.sum(-1))
    decay = signal * np.exp(-r)
    kernel = decay * (1 + r + r**2 / 3)
    factor = cholesky(kernel + np.diag(variances + noise + JITTER), lower=True)
    weights = cho_solve((factor, True), values)
    likelihood = -0.5 * values @ weights - np.log(np.diagonal(factor)).sum() - 0.5 * len(values) * np.log(2 * np.pi)
    outer = np.outer(weights, weights) - cho_solve((factor, True), np.eye(len(values)))
    slopes = np.einsum("ij,ijk->k", outer * decay * (1 + r), scaled) * (5 / 3)
    slope = 0.5 * np.array([*slopes, (outer * kernel).sum(), noise * np.trace(outer)])
    off = (theta[:-2] - np.log(LENGTH_MEDIAN)) / LENGTH_LOG_SD
    slope[:-2] -= off / LENGTH_LOG_SD
    return -(likelihood - 0.5 * off @ off), -slope
