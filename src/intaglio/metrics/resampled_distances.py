"""Distances of two sets of pictures by descriptors, with the first set's rows counted several times or not at all.

A resample of n rows is a row of counts that adds up to n, so that many resamples share what is computed of all pairs.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

Distance = Literal["kernel", "frechet"]


def resampled_distances(
    distance: Distance, a: Float[ndarray, "n d"], b: Float[ndarray, "m d"], counts: Float[ndarray, "r n"]
) -> Float[ndarray, "r"]:
    """The distance from `b` of each resample of `a`, in float64.

    Args:
        distance: `kernel`, the unbiased kernel distance (KID, arXiv 1801.01401), in which a row is never paired with
            itself, however often it counts; or `frechet`, of the normal distributions of both (arXiv 1706.08500),
            which few rows bias upwards, so that only sets of one size compare.
        a: descriptors, two rows or more.
        b: descriptors, two rows or more.
        counts: how often each row of `a` counts, from 0, adding up to n; two different rows count at least.
    """
    return _kernel_distances(a, b, counts) if distance == "kernel" else _frechet_distances(a, b, counts)


def _kernel_distances(
    a: Float[ndarray, "n d"], b: Float[ndarray, "m d"], counts: Float[ndarray, "r n"]
) -> Float[ndarray, "r"]:
    aa, ab, bb = (
        (x.astype(np.float64) @ y.T.astype(np.float64) / a.shape[1] + 1) ** 3 for x, y in ((a, a), (a, b), (b, b))
    )
    np.fill_diagonal(aa, 0.0)
    np.fill_diagonal(bb, 0.0)
    rows, others = counts.sum(1), len(b)
    pairs = rows**2 - (counts**2).sum(1)
    within = np.einsum("rn,nk,rk->r", counts, aa, counts) / pairs
    return within + bb.sum() / (others * (others - 1)) - 2 * (counts @ ab.mean(1)) / rows


def _frechet_distances(
    a: Float[ndarray, "n d"], b: Float[ndarray, "m d"], counts: Float[ndarray, "r n"]
) -> Float[ndarray, "r"]:
    """With rows of X and Y centred and scaled so that their covariances are XᵀX and YᵀY, the trace of (XᵀX YᵀY)^½ is
    the sum of the singular values of XYᵀ, a matrix of n rows, whatever the descriptors' length.
    """
    mean = b.mean(0)
    centred = (b - mean) / np.sqrt(len(b) - 1)
    found = []
    for weights in counts / counts.sum(1, keepdims=True):
        own = weights @ a
        rows = (a - own) * np.sqrt(weights * len(a) / (len(a) - 1))[:, None]
        shared = np.linalg.svd(rows @ centred.T, compute_uv=False).sum()
        found.append(((own - mean) ** 2).sum() + (rows**2).sum() + (centred**2).sum() - 2 * shared)
    return np.array(found)
