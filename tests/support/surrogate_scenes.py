"""A planted black box that looks at three of many columns, by a rule of depth 2."""

import numpy as np

from intaglio.explain.surrogate.black_box_rows import BlackBoxRows

LOOKED_AT = (7, 200, -1)
"""Columns: the first says which of the others is looked at."""


def says(features):
    """Probabilities of yes and no."""
    a, b, c = (features[:, k] for k in LOOKED_AT)
    yes = np.where(a > 0.2, np.where(b > -0.3, 0.95, 0.55), np.where(c > 0.4, 0.4, 0.05))
    return np.stack([yes, 1 - yes], 1)


def planted(count=400, wide=2000, seed=0, ask=None, features=None):
    """Rows of independent columns, or of those that are given."""
    if features is None:
        features = np.random.default_rng(seed).standard_normal((count, wide)).astype(np.float32)
    return BlackBoxRows(
        names=tuple(f"r{k}" for k in range(len(features))),
        columns=tuple(f"f{k}" for k in range(features.shape[1])),
        features=features,
        classes=("yes", "no"),
        probabilities=says(features),
        ask=ask,
    )


def small():
    """60 rows of 9 columns, for tests that ask for any surrogate."""
    features = np.random.default_rng(1).standard_normal((60, 9)).astype(np.float32)
    wide = np.zeros((60, 202), np.float32)
    wide[:, [7, 200, 201, 0, 1, 2, 3, 4, 5]] = features
    return planted(features=wide)
