"""Codes of features in a bank of concepts: non-negative shares, and how they move with the features."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import nnls


def nonnegative_codes(features: Float[ndarray, "n c"], bank: Float[ndarray, "k c"]) -> Float[ndarray, "n k"]:
    """Codes u >= 0 of each row a that make |a - u W|^2 least, W the bank; float64."""
    turned = np.asarray(bank, np.float64).T
    return np.stack([nnls(turned, row)[0] for row in np.asarray(features, np.float64)])


def code_slopes(code: Float[ndarray, "k"], bank: Float[ndarray, "k c"]) -> Float[ndarray, "k c"]:
    """Derivatives of a row's codes by its features: with S the codes above 0, (W_S W_S^T)^-1 W_S, and 0 for the others.

    By the implicit function theorem at the least squares on S, which does not change for small enough moves.
    """
    found = np.zeros(bank.shape)
    active = np.flatnonzero(code > 0)
    if len(active):
        chosen = np.asarray(bank[active], np.float64)
        found[active] = np.linalg.solve(chosen @ chosen.T, chosen)
    return found
