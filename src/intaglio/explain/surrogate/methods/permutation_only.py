"""permutation-only: features by what is lost when they are shuffled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from numpy import ndarray

from intaglio.errors import require
from intaglio.explain.surrogate.family import RankedColumns, SurrogateChooser


@dataclass(frozen=True, kw_only=True)
class PermutationOnly(SurrogateChooser):
    """A small tree on features whose shuffling harms a black box or a forest most.

    The mean rise of the squared error of the probabilities when a feature is shuffled between rows, of the black box
    where it can be asked, else of a forest that is fitted to it, on rows that it was not fitted to. Permutation
    importance, of Breiman, Random Forests (2001).
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "what shuffling them loses"

    permutations: int = 5
    """Shuffles of each feature, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.permutations >= 1, f"permutations must be at least 1, not {self.permutations}")

    def scores(self, candidates: RankedColumns) -> Mapping[str, Float[ndarray, "c"]]:
        """See the class."""
        return {"perturbing": candidates.drops(self.permutations)}
