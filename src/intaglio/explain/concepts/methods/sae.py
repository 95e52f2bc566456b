"""sae: concepts by the dictionary of a sparse autoencoder of crops' features."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from intaglio.explain.concepts.concept_codes import code_slopes, nonnegative_codes
from intaglio.explain.concepts.family import ConceptFinder
from intaglio.explain.sparse_autoencoder import Atoms, SparseSettings, trained_autoencoder


@dataclass(frozen=True, kw_only=True)
class SparseConcepts(ConceptFinder):
    """Sparse autoencoder: concepts are the atoms of a dictionary, of which few make up a crop.

    Features A, [n, c], become codes: the `active` largest of ReLU(BatchNorm(A V^T)), the others 0, and codes times
    dictionary is near A. The loss is the mean squared error, and a tenth of that of the residual by codes that were not
    taken. An archetypal dictionary lies near convex combinations of k-means centres of the features, which makes it
    steadier. Its rows, brought to unit length, are the concepts; codes of further features are the non-negative least
    squares in them, of which the autoencoder's own are a fast approximation.

    Source: Fel et al., arXiv 2502.12892; Gao et al., arXiv 2406.04093. The importances are those of arXiv 2211.10154.
    """

    reading: ClassVar[str] = "an atom of a sparse autoencoder, few of which make up the features of a crop"

    atoms: Atoms = "archetypal"
    """archetypal: near convex combinations of centres of the features; free: any direction."""
    active: int = 3
    """Codes of a crop above 0 while the dictionary is learnt, from 1; at most `count` are taken."""
    updates: int = 400
    """Updates of the autoencoder, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self._settings  # refuses what the autoencoder does

    @property
    def _settings(self) -> SparseSettings:
        return SparseSettings(
            concepts=max(2, self.count),
            active=min(self.active, max(2, self.count)),
            atoms=self.atoms,
            updates=self.updates,
            rows=256,
            learning_rate=1e-2,
            seed=self.seed,
        )

    def bank(self, features: Float[ndarray, "n c"]) -> Float[ndarray, "k c"]:
        """See the class."""
        found = trained_autoencoder(torch.from_numpy(features).float(), self._settings).dictionary.double().numpy()
        return found[: self.count] / np.maximum(np.linalg.norm(found[: self.count], axis=1, keepdims=True), 1e-12)

    def codes(self, features: Float[ndarray, "n c"], bank: Float[ndarray, "k c"]) -> Float[ndarray, "n k"]:
        """Non-negative least squares."""
        return nonnegative_codes(features, bank)

    def slopes(self, code: Float[ndarray, "k"], bank: Float[ndarray, "k c"]) -> Float[ndarray, "k c"]:
        """Of the least squares on the codes above 0."""
        return code_slopes(code, bank)
