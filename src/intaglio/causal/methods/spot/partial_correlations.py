"""Partial correlations by closed forms, and Fisher's statistic of them."""

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray
from scipy.special import erfc

LARGEST_CORRELATION = 1 - 1e-12
"""Absolute partial correlation above which it is set to this value."""


def severities(correlations: Float64[ndarray, "..."], rows: int, order: int) -> Float64[ndarray, "..."]:
    """Fisher's |z| √(n - order - 3) of partial correlations; NaN where the rows are too few."""
    if rows <= order + 3:
        return np.full_like(correlations, np.nan)
    return np.arctanh(np.minimum(np.abs(correlations), LARGEST_CORRELATION)) * np.sqrt(rows - order - 3)


def p_values(severity: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
    """Two-sided p-values of severities, which are standard normal in absolute value under independence."""
    return erfc(severity / np.sqrt(2))


def partial_correlations(
    correlation: Float64[ndarray, "d d"],
    first: Int64[ndarray, "t"],
    second: Int64[ndarray, "t"],
    given: Int64[ndarray, "t k"],
) -> Float64[ndarray, "t"]:
    """Partial correlations of pairs given one or two variables each, by closed forms.

    With g the regression of the first on the given, r = (ρ_ij - g ρ_j) / √((1 - g ρ_i)(1 - h ρ_j)), h that of the
    second.
    """
    i, j = correlation[first[:, None], given], correlation[second[:, None], given]
    on_first, on_second = i, j
    if given.shape[1] == 2:
        between = correlation[given[:, 0], given[:, 1]][:, None]
        spread = np.maximum(1 - between**2, 1 - LARGEST_CORRELATION)
        on_first, on_second = (i - between * i[:, ::-1]) / spread, (j - between * j[:, ::-1]) / spread
    rest = np.maximum(1 - (on_first * i).sum(1), 1 - LARGEST_CORRELATION)
    rest = rest * np.maximum(1 - (on_second * j).sum(1), 1 - LARGEST_CORRELATION)
    return (correlation[first, second] - (on_first * j).sum(1)) / np.sqrt(rest)
