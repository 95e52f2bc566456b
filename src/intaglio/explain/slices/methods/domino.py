"""domino: components of a mixture of features, true classes and called classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.errors import require
from intaglio.explain.slices.error_mixture import fitted_mixture, shares
from intaglio.explain.slices.family import PictureSlice, SliceFinder, most_wrong
from intaglio.explain.slices.judged_rows import JudgedRows


@dataclass(frozen=True, kw_only=True)
class Domino(SliceFinder):
    """Components of an error-aware mixture: pictures that look alike and are mistaken alike.

    Features are brought to principal directions; each component of the mixture has a normal distribution of them and
    probabilities of true and of called classes, whose logarithms weigh `gain` times. Slices are the components with
    most errors beyond their share.

    Source: Eyuboglu et al., arXiv 2203.14960; there classes come as the classifier's probabilities, here as its answer,
    for which every step of the fit raises the likelihood.
    """

    reading: ClassVar[str] = "a component of a mixture of looks, true classes and called classes"

    components: int = 25
    """Components of the mixture, from 2."""
    directions: int = 16
    """Principal directions of the features, from 1."""
    gain: float = 10.0
    """Weight of the classes' log-probabilities beside the features', 0 or more."""
    updates: int = 100
    """Steps of the fit, at most, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.components >= 2, f"components must be at least 2, not {self.components}")
        require(self.directions >= 1, f"directions must be at least 1, not {self.directions}")
        require(self.gain >= 0, f"gain must be 0 or more, not {self.gain}")
        require(self.updates >= 1, f"updates must be at least 1, not {self.updates}")

    def find(self, rows: JudgedRows) -> Sequence[PictureSlice]:
        """See the class."""
        mean = rows.features.mean(0)
        _, sizes, right = np.linalg.svd(rows.features - mean, full_matrices=False)
        kept = right[: min(self.directions, int((sizes > 1e-9 * sizes[0]).sum()) or 1)]
        scale = max(float(((rows.features - mean) @ kept.T).std()), 1e-12)

        def lain(given: JudgedRows) -> Float[ndarray, "n d"]:
            return (given.features - mean) @ kept.T / scale

        mixture, _ = fitted_mixture(
            lain(rows), rows.truth, rows.called, classes=rows.classes, components=min(self.components, len(rows) // 2),
            gain=self.gain, updates=self.updates, seed=self.seed,
        )  # fmt: skip
        taken = shares(mixture.joint(lain(rows), rows.truth, rows.called))
        return [
            PictureSlice(
                f"component {k}", lambda given, k=k: shares(mixture.joint(lain(given), given.truth, given.called))[:, k]
            )
            for k in most_wrong(taken, rows, self.slices)
        ]
