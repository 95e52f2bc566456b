"""Independent regimes of a context: how many observations of a change there are, and blocks to resample them by."""

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray

from intaglio.causal.independence.kernels import centred
from intaglio.causal.methods.cd_nod.modules import ModuleMatrix

FALLEN = float(np.exp(-0.5))
"""Correlation that ends a correlation length: that of a Gaussian kernel at its width."""


def correlation_length(module: ModuleMatrix, positions: Float64[ndarray, "m"]) -> float:
    """Distance in the context at which the embeddings of a module correlate by exp(−½) on average.

    The whole range where they never fall so low.
    """
    covariance = centred(module)
    sizes = np.sqrt(np.maximum(np.diagonal(covariance), 1e-300))
    correlations = covariance / sizes / sizes[:, None]
    first, second = np.triu_indices(len(module), 1)
    distances = np.abs(positions[second] - positions[first])
    whole = float(np.ptp(positions))
    steps = np.linspace(0, whole, min(len(positions), 60) + 1)
    bins = np.clip(np.digitize(distances, steps) - 1, 0, len(steps) - 2)
    counts = np.bincount(bins, minlength=len(steps) - 1)
    means = np.bincount(bins, correlations[first, second], len(steps) - 1) / np.maximum(counts, 1)
    low = np.flatnonzero((counts > 0) & (means < FALLEN))
    return float(steps[low[0]] + steps[1] / 2) if low.size else whole


def regimes(modules: list[ModuleMatrix], positions: Float64[ndarray, "m"] | None) -> int:
    """Independent regimes that the modules' changes were seen in.

    Args:
        modules: matrices [m, m].
        positions: the points in a continuous context, whose range is divided by the longest correlation length; None
            for domains, each of which is a regime.
    """
    if positions is None:
        return len(modules[0])
    longest = max(correlation_length(module, positions) for module in modules)
    return max(1, int(np.ptp(positions) / longest)) if longest > 0 else len(positions)


def blocks(points: int, count: int) -> list[Int[ndarray, "k"]]:
    """`count` runs of neighbouring points, as equal as can be."""
    return np.array_split(np.arange(points), min(points, count))
