"""Planted rows of a linear-Gaussian model, whose S moves between environments and whose Z stays."""

import numpy as np
from numpy import ndarray

from intaglio.causal.transfer.environment_rows import EnvironmentRows

PLACES = {"a": -1.5, "b": 0.0, "c": 1.5, "far": 3.0}
"""Mean of S by environment."""


def planted(count: int, seed: int) -> tuple[EnvironmentRows, ndarray, ndarray]:
    """So many rows of each place, x = Z A + S b + noise, y the largest of three linear functions of Z; Z, and S."""
    source = np.random.default_rng(seed)
    a, b = source.standard_normal((2, 6)), source.standard_normal((1, 6))
    places = np.repeat(list(PLACES), count)
    z = source.standard_normal((len(places), 2))
    s = np.repeat(list(PLACES.values()), count)[:, None] + 0.5 * source.standard_normal((len(places), 1))
    features = z @ a + s @ b + 0.3 * source.standard_normal((len(places), 6))
    said = (z @ np.array([[1, 0], [-0.5, 0.87], [-0.5, -0.87]]).T).argmax(1)
    names = tuple(f"r{k:04d}" for k in range(len(places)))
    return EnvironmentRows(names, tuple(places.tolist()), tuple("xyz"[k] for k in said), features), z, s
