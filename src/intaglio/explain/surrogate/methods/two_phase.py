"""two-phase: features that a fast model splits on and whose shuffling harms, by the mean of both ranks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from numpy import ndarray

from intaglio.errors import require
from intaglio.explain.surrogate.family import RankedColumns, SurrogateChooser


@dataclass(frozen=True, kw_only=True)
class TwoPhaseSurrogate(SurrogateChooser):
    """A small tree on features that are ranked by probing and by perturbing a black box's model.

    Probing: a forest of extremely randomised trees is fitted to the probabilities, and the share of the fall of its
    squared error by each feature is taken. Perturbing: the mean rise of the squared error when a feature is shuffled
    between rows, of the black box where it can be asked, else of the forest on rows that it was not fitted to. The
    ranks are averaged.

    Source: arXiv 2208.13405, of whose two phases its abstract tells; the measures, clusters and knee are ours.
    """

    reading: ClassVar[str] = "the mean of their ranks by a forest's impurity and by what shuffling them loses"

    permutations: int = 5
    """Shuffles of each feature, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.permutations >= 1, f"permutations must be at least 1, not {self.permutations}")

    def scores(self, candidates: RankedColumns) -> Mapping[str, Float[ndarray, "c"]]:
        """See the class."""
        return {"probing": candidates.model.impurity, "perturbing": candidates.drops(self.permutations)}
