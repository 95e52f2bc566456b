"""Sparse codes of features by a trained autoencoder."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 8192
"""Rows that are encoded at once."""


@dataclass(frozen=True, eq=False)
class SparseAutoencoder:
    """A trained autoencoder of rows of features.

    Codes are the `active` largest of ReLU(BatchNorm(A V^T)), with A the features over their root mean square, and the
    others 0. A is near codes times dictionary.
    """

    unit: float
    """Root mean square of a number of the features."""
    active: int
    encoder: Float[Tensor, "k c"]
    """V, with the batch normalisation of all features in it."""
    offset: Float[Tensor, "k"]
    dictionary: Float[Tensor, "k c"]
    """Atoms D, in units of `unit`."""

    def codes(self, features: Float[Tensor, "n c"]) -> Float[Tensor, "n k"]:
        """Codes of rows, 0 or more, on the CPU."""
        parts = features.split(CHUNK)
        return torch.cat([largest((one / self.unit) @ self.encoder.T + self.offset, self.active) for one in parts])

    def left(self, features: Float[Tensor, "n c"]) -> float:
        """Share of the features' variance that the codes leave unexplained, 0 or more."""
        missed = sum(
            float((one / self.unit - self.codes(one) @ self.dictionary).double().square().sum())
            for one in features.split(CHUNK)
        )
        spread = (features / self.unit).double()
        return missed / max(float((spread - spread.mean(0)).square().sum()), 1e-12)


def largest(given: Float[Tensor, "n k"], active: int) -> Float[Tensor, "n k"]:
    """ReLU of numbers, all but the `active` largest of each row put to 0."""
    found = given.relu().topk(active, 1)
    return torch.zeros_like(given).scatter(1, found.indices, found.values)
