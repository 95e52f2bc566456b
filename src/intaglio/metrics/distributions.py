"""Distances and overlaps of two sets of pictures by their descriptors, and the diversity of one set."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.linalg import sqrtm

Descriptors = Float[ndarray, "n d"]
Others = Float[ndarray, "m d"]


def vendi(descriptors: Descriptors) -> float:
    """Vendi score: exp of the entropy of the eigenvalues of K / n, K the cosines; from 1 (all equal) to n.

    Source: arXiv 2210.02410.
    """
    rows = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
    values = np.clip(np.linalg.eigvalsh(rows @ rows.T / len(rows)), 0.0, None)
    values = values[values > 0] / values.sum()
    return float(np.exp(-(values * np.log(values)).sum()))


def kernel_distance(a: Descriptors, b: Others) -> float:
    """Kernel distance (KID): unbiased squared maximum mean discrepancy, kernel (xᵀy / d + 1)³; about 0 for one law.

    Each set needs two rows or more. Descriptors of unit length are stretched to that of √d, as the kernel wants.
    Source: arXiv 1801.01401.
    """
    n, m = len(a), len(b)
    aa, bb, ab = (_kernel(one, other) for one, other in ((a, a), (b, b), (a, b)))
    within = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(within - 2 * ab.mean())


def kernel_distance_interval(
    groups: Sequence[Int[ndarray, "_"]], a: Descriptors, b: Others, draws: int = 100
) -> tuple[float, float]:
    """95% interval of the kernel distance by resampling groups of rows of `a`, such as those of one prompt.

    A group that is drawn twice is its own neighbour, which adds to every resample alike, and is taken out again.
    """
    source = np.random.default_rng(0)
    chosen = [source.integers(len(groups), size=len(groups)) for _ in range(draws)]
    found = np.array([kernel_distance(a[np.concatenate([groups[k] for k in rows])], b) for rows in chosen])
    low, high = np.quantile(found - found.mean() + kernel_distance(a, b), (0.025, 0.975))
    return float(low), float(high)


def frechet_distance(a: Descriptors, b: Others) -> float:
    """Fréchet distance of the normal distributions of two sets' means and covariances; biased where rows are few."""
    means, covariances = [x.mean(0) for x in (a, b)], [np.cov(x, rowvar=False) for x in (a, b)]
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root))


class SetOverlap(NamedTuple):
    """Overlap of two sets, by balls around their points that reach the k-th neighbour of the same set."""

    precision: float
    """Share of drawn points within some ball of a real one."""
    recall: float
    """Share of real points within some ball of a drawn one."""
    density: float
    """Mean number of real balls that hold a drawn point, over k; may exceed 1."""
    coverage: float
    """Share of real balls that hold a drawn point."""


def overlap(drawn: Descriptors, real: Others, k: int = 5) -> SetOverlap:
    """Precision and recall (arXiv 1904.06991), density and coverage (arXiv 2002.09797); each set has over k rows."""
    between = _distances(drawn, real)
    around_real, around_drawn = (np.sort(_distances(x, x), 1)[:, k] for x in (real, drawn))
    inside = between <= around_real[None]
    return SetOverlap(
        float(inside.any(1).mean()),
        float((between <= around_drawn[:, None]).any(0).mean()),
        float(inside.sum(1).mean() / k),
        float((between.min(0) <= around_real).mean()),
    )


def stretched(descriptors: Descriptors) -> Descriptors:
    """Descriptors of unit length as ones of length √d, float64."""
    return np.asarray(descriptors, np.float64) * np.sqrt(descriptors.shape[1])


def _kernel(a: Descriptors, b: Others) -> Float[ndarray, "n m"]:
    return (a.astype(np.float64) @ b.T.astype(np.float64) / a.shape[1] + 1) ** 3


def _distances(a: Descriptors, b: Others) -> Float[ndarray, "n m"]:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.clip(squares, 0.0, None))
