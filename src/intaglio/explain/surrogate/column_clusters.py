"""Clusters of columns that go together, each with one that stands for it."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

BLOCK = 256
"""Columns that are compared with all representatives at once."""


def clustered(
    features: Float[ndarray, "n d"], answers: Float[ndarray, "n k"], alike: float
) -> tuple[Int[ndarray, "c"], Int[ndarray, "d"]]:
    """Columns that stand for clusters, and the place among these of each column's cluster.

    Columns are taken in the order of their largest |r| with an answer, and each joins the first representative with
    which |r| > alike, or becomes one: so no two representatives are that alike, and each column is to its own. Columns
    that do not differ between rows have no cluster, -1. With alike = 1 every column is a cluster of its own.
    """
    unit, spread = _standard(features)
    belongs = np.full(features.shape[1], -1)
    varied = np.flatnonzero(spread > 0)
    strength = np.abs(unit[:, varied].T @ _standard(answers)[0]).max(1)
    order = varied[np.argsort(-strength, kind="stable")]
    if alike >= 1:
        belongs[order] = np.arange(len(order))
        return order, belongs
    chosen: list[int] = []
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        near = np.abs(unit[:, block].T @ unit[:, chosen]) > alike
        inside = np.abs(unit[:, block].T @ unit[:, block]) > alike
        fresh: list[int] = []
        for k, column in enumerate(block):
            known = np.flatnonzero(near[k])
            mine = known if len(known) else len(chosen) - len(fresh) + np.flatnonzero(inside[k, fresh])
            if len(mine):
                belongs[column] = mine[0]
            else:
                belongs[column] = len(chosen)
                chosen.append(int(column))
                fresh.append(k)
    return np.array(chosen), belongs


def _standard(columns: Float[ndarray, "n d"]) -> tuple[Float[ndarray, "n d"], Float[ndarray, "d"]]:
    """Columns of mean 0 and length 1, those without difference 0; and their deviations."""
    values = columns.astype(np.float64)
    values -= values.mean(0)
    spread = values.std(0)
    spread[spread <= 1e-7 * np.abs(columns).max(0)] = 0
    length = spread * len(values) ** 0.5
    return np.divide(values, length, out=np.zeros_like(values), where=length > 0), spread
