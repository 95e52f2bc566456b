"""Varsortability and R²-sortability: how far a sorting criterion reveals the causal order of a simulated table."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.causal.graphs.paths import boolean_product


def alignment(
    adjacency: Bool[ndarray, "b d d"], criterion: Float[ndarray, "b d"], tolerance: float = 1e-9
) -> Float[ndarray, "b"]:
    """Share of directed paths along which a criterion rises, in [0, 1]; 0.5 is chance, NaN means there is no path.

    Each pair of variables counts once for every length of a path between them, and a half where the two values agree
    to within `tolerance` relatively (arXiv 2102.13647 and 2303.18211). Pairs with a NaN do not count.
    """
    low, high = criterion[:, :, None], criterion[:, None, :]
    tied = np.abs(high - low) <= tolerance * np.maximum(np.abs(high), np.abs(low))
    rises = np.where(tied, 0.5, high > low)
    known = np.isfinite(low) & np.isfinite(high)
    paths, right, total = adjacency, np.zeros(len(adjacency)), np.zeros(len(adjacency))
    for _ in range(1, adjacency.shape[1]):
        counted = paths & known
        right += (counted * rises).sum((1, 2))
        total += counted.sum((1, 2))
        paths = boolean_product(paths, adjacency)
    return np.divide(right, total, out=np.full(len(total), np.nan), where=total > 0)


def varsortability(adjacency: Bool[ndarray, "b d d"], tables: Float[ndarray, "b n d"]) -> Float[ndarray, "b"]:
    """`alignment` of the variances: near 1, sorting columns by variance gives the causal order (arXiv 2102.13647)."""
    return alignment(adjacency, tables.astype(np.float64).var(1))


def r2_sortability(adjacency: Bool[ndarray, "b d d"], tables: Float[ndarray, "b n d"]) -> Float[ndarray, "b"]:
    """`alignment` of each variable's R² on all others, which no rescaling of columns changes (arXiv 2303.18211)."""
    return alignment(adjacency, r2(tables), tolerance=1e-6)


def r2(tables: Float[ndarray, "b n d"]) -> Float[ndarray, "b d"]:
    """Share of each column's variance that a linear regression on all others explains; NaN for a constant column.

    From the inverse of the correlations, 1 − 1/(C⁻¹)ⱼⱼ; 1 for a column that others determine.
    """
    centred = tables - tables.mean(1, keepdims=True, dtype=np.float64)
    spread = np.sqrt((centred**2).mean(1, keepdims=True))
    scaled = centred / np.where(spread > 0, spread, np.inf)
    correlation = np.swapaxes(scaled, 1, 2) @ scaled / tables.shape[1]
    constant = spread[:, 0] <= 0
    diagonal = np.arange(tables.shape[2])
    correlation[:, diagonal, diagonal] = 1.0
    value, vector = np.linalg.eigh(correlation)
    inverse = ((vector**2) / np.maximum(value, 1e-12)[:, None]).sum(-1)
    return np.where(constant, np.nan, np.clip(1 - 1 / inverse, 0, 1))
