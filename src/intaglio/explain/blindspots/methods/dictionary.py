"""dictionary: energies of the codes of a sparse autoencoder."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.explain.blindspots.family import BlindSpotFinder, ReadCodes
from intaglio.explain.sparse_autoencoder import Atoms, SparseSettings, trained_autoencoder
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class DictionaryEnergies(BlindSpotFinder):
    """Conceptual blind spots: codes of a sparse autoencoder that generated pictures lack or overdo.

    Features A of places, over their root mean square, become codes: the `active` largest of ReLU(BatchNorm(A V^T)), the
    others 0; codes times dictionary is near A. The loss is the mean squared error, and a tenth of that of the residual
    by codes that were not taken. It learns from real and generated pictures together, without knowing which is which,
    so that the test by swaps stays exact. An archetypal dictionary is (W C + L) exp(s): C centres of the features by
    k-means, rows of W convex weights, rows of L no longer than `reach`. A code counts times the length of its atom.

    Source: Bohacek et al., arXiv 2506.19708, with the autoencoder of arXiv 2502.12892; the share for delta, the test
    and the control are this project's own.
    """

    reading: ClassVar[str] = "an atom of a sparse autoencoder, few of which make up a place of a picture"

    concepts: int = 128
    """Atoms k of the dictionary, from 2, fewer than the different places of all pictures."""
    active: int = 8
    """Codes of a place that may be above 0, 1 to `concepts`."""
    atoms: Atoms = "archetypal"
    """archetypal: near convex combinations of centres of the features; free: rows of unit length, any direction."""
    reach: float = 1.0
    """Largest distance of an archetypal atom from the centres' convex hull, 0 or more, in root mean squares of a number
    of the features."""
    updates: int = 600
    """Updates of the autoencoder, from 1."""
    rows: int = 512
    """Places of an update, from 2."""
    learning_rate: float = 5e-3
    """Highest learning rate of the autoencoder, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self._settings  # refuses what the autoencoder does

    @property
    def _settings(self) -> SparseSettings:
        names = ("concepts", "active", "atoms", "reach", "updates", "rows", "learning_rate", "seed")
        return SparseSettings(**{name: getattr(self, name) for name in names})

    def fit(self, features: Float[Tensor, "m c"], run: Run) -> ReadCodes:
        """See the class."""
        found = trained_autoencoder(features, self._settings, run=run)
        lengths = found.dictionary.norm(dim=1)
        return ReadCodes(lambda rows: found.codes(rows) * lengths, found.left(features))
