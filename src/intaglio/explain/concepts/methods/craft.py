"""craft: concepts by a non-negative factorisation of crops' features."""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

from intaglio.errors import require
from intaglio.explain.concepts.concept_codes import code_slopes, nonnegative_codes
from intaglio.explain.concepts.concept_parts import Division
from intaglio.explain.concepts.family import ConceptFinder
from intaglio.explain.concepts.result import LETTERS


@dataclass(frozen=True, kw_only=True)
class CRAFT(ConceptFinder):
    """CRAFT: concepts by a non-negative factorisation of the features of crops.

    With A the features of crops, 0 or more, A is near U W with U and W 0 or more, by coordinate descent from a start by
    singular vectors. The rows of W, brought to unit length, are the concepts; codes of further features are the
    non-negative least squares, whose derivatives give the concepts' maps.

    A concept whose crops are of several things can be divided: the features of the tenth of crops with its largest
    codes, at an earlier layer of the network that keeps these things apart, are factorised in the same way.

    Source: Fel et al., arXiv 2211.10154, with a scrambled Sobol' sequence for its importances.
    """

    reading: ClassVar[str] = "a non-negative direction that adds up to the features of crops with others of its kind"

    divided: int = 0
    """Concepts that are divided into parts, from 0, or all where there are fewer: those whose crops one direction of
    the earlier layer's features explains least. A concept that fewer crops than parts have, or whose crops all have
    most of one part, is left whole."""
    parts: int = 3
    """Parts of each, 2 to 10."""
    earlier: str = ""
    """Module whose maps the parts are of, called before `layer`, none of which may be below 0; empty takes the last one
    before it with larger maps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.divided >= 0, f"divided must be 0 or more, not {self.divided}")
        idle = not self.divided and (self.earlier != "" or self.parts != type(self).parts)
        require(not idle, "earlier and parts are of concepts that are divided; give divided too")
        require(2 <= self.parts <= len(LETTERS), f"parts must be 2 to {len(LETTERS)}, not {self.parts}")

    @property
    def division(self) -> Division | None:
        """See the family."""
        return Division(self.divided, self.parts, self.earlier) if self.divided else None

    def bank(self, features: Float[ndarray, "n c"]) -> Float[ndarray, "k c"]:
        """See the class."""
        count = cast(Any, self.count)  # its stubs know the default alone
        model = NMF(count, init="nndsvda", max_iter=500, tol=1e-4, random_state=self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a factorisation that is nearly done serves as well
            model.fit(features)
        lengths = np.linalg.norm(model.components_, axis=1, keepdims=True)
        return model.components_ / np.maximum(lengths, 1e-12)

    def codes(self, features: Float[ndarray, "n c"], bank: Float[ndarray, "k c"]) -> Float[ndarray, "n k"]:
        """Non-negative least squares."""
        return nonnegative_codes(features, bank)

    def slopes(self, code: Float[ndarray, "k"], bank: Float[ndarray, "k c"]) -> Float[ndarray, "k c"]:
        """Of the least squares on the codes above 0."""
        return code_slopes(code, bank)
