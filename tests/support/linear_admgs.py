"""Rows of random and planted linear ADMGs."""

import numpy as np
import pandas as pd

from intaglio.causal.graphs.admg import ADMG

VERMA = [("a", "-->", "b"), ("b", "-->", "c"), ("c", "-->", "d"), ("b", "<->", "d")]
"""A chain whose second and last variable share a hidden cause: its MAG has a → d and b → d besides."""


def rows_of(graph: ADMG, rows: int, seed: int = 0, least: float = 0.6) -> pd.DataFrame:
    """Normal rows with coefficients of 0.6 to 1.1 and error covariances of 0.4 to 0.6 of the variance, either sign."""
    random, d = np.random.default_rng(seed), len(graph.names)
    signs = random.choice([-1.0, 1.0], (2, d, d))
    arrows = graph.directed * random.uniform(least, least + 0.5, (d, d)) * signs[0]
    lower = np.tril(graph.bidirected * random.uniform(0.4, 0.6, (d, d)) * signs[1], -1)
    errors = lower + lower.T
    errors += np.diag(np.maximum(1.0, np.abs(errors).sum(0) + 0.2))
    noise = random.standard_normal((rows, d)) @ np.linalg.cholesky(errors).T
    return pd.DataFrame(noise @ np.linalg.inv(np.eye(d) - arrows), columns=list(graph.names))
