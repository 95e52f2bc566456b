"""drawn-columns: features drawn at random."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from numpy import ndarray

from intaglio.explain.surrogate.family import RankedColumns, SurrogateChooser
from intaglio.randomness import numpy_generator


@dataclass(frozen=True, kw_only=True)
class DrawnColumns(SurrogateChooser):
    """A small tree on features that are drawn at random.

    Every cluster of features has the same chance. What any few features tell, without a choice.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "a random number"

    def scores(self, candidates: RankedColumns) -> Mapping[str, Float[ndarray, "c"]]:
        """See the class."""
        return {"drawn": numpy_generator(self.seed, 3).random(len(candidates.members))}
