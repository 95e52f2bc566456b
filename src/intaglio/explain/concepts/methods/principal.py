"""principal: concepts by principal directions of crops' features."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.explain.concepts.family import ConceptFinder


@dataclass(frozen=True, kw_only=True)
class PrincipalConcepts(ConceptFinder):
    """Principal directions of the features of crops, uncentred.

    They are those of the largest sums of squares. Codes are projections, of either sign; the sign of a direction is
    that of its largest number.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "a direction in which the features of crops are largest, orthogonal to the others"

    def bank(self, features: Float[ndarray, "n c"]) -> Float[ndarray, "k c"]:
        """See the class."""
        rows = np.linalg.svd(features, full_matrices=False)[2][: self.count]
        return rows * np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(1)])[:, None]

    def codes(self, features: Float[ndarray, "n c"], bank: Float[ndarray, "k c"]) -> Float[ndarray, "n k"]:
        """Projections."""
        return features @ bank.T

    def slopes(self, code: Float[ndarray, "k"], bank: Float[ndarray, "k c"]) -> Float[ndarray, "k c"]:
        """The directions themselves."""
        return bank
