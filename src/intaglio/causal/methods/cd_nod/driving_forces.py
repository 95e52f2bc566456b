"""Driving forces: principal components of a changing module, as curves over the context."""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from intaglio.causal.independence.kernels import centred
from intaglio.causal.methods.cd_nod.modules import ModuleMatrix

COMPONENTS = 3
"""Most curves of a mechanism."""


def principal_components(
    module: ModuleMatrix, most: int = COMPONENTS
) -> tuple[Float64[ndarray, "k m"], Float64[ndarray, "k"]]:
    """Kernel PCA of a module matrix [m, m]: curves √λ·v of the largest eigenvalues, and their shares of Σ λ.

    The sign is such that the largest value of a curve is positive. Components without variance are left out.
    """
    values, vectors = np.linalg.eigh(centred(module))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    total = values.sum()
    if not total > 0:
        return np.zeros((0, len(module))), np.zeros(0)
    kept = np.flatnonzero(values[:most] > 1e-9 * values[0])
    curves = (vectors[:, kept] * np.sqrt(values[kept])).T
    peaks = curves[np.arange(len(kept)), np.abs(curves).argmax(1)]
    return curves * np.sign(peaks)[:, None], values[kept] / total


def shared_change(first: ModuleMatrix, second: ModuleMatrix) -> float:
    """Absolute correlation of the leading components of two modules, in [0, 1]; 0 where one does not change."""
    (one, _), (two, _) = principal_components(first, 1), principal_components(second, 1)
    if not len(one) or not len(two):
        return 0.0
    return float(min(1.0, abs(np.vdot(one, two)) / np.sqrt(np.vdot(one, one) * np.vdot(two, two))))
