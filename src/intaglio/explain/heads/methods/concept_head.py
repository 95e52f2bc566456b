"""concept-head: logistic regression on the few concepts that a picture has most of."""

from dataclasses import dataclass
from typing import ClassVar

from intaglio.errors import require
from intaglio.explain.heads.concept_reading import SPARSITIES, concept_warnings, fitted_concepts, unit_centres
from intaglio.explain.heads.family import Kind, ReadableHead
from intaglio.explain.heads.fitted_head import FittedHead, Places
from intaglio.explain.probe_scores import Codes


@dataclass(frozen=True, kw_only=True)
class ConceptHead(ReadableHead):
    """Linear head on the concepts that a picture has most of, and how much of the accuracy they keep.

    Concepts are M unit vectors p_i [d], the k-means centres of features of places; a picture's scores are c = x P^T
    [M], taken to mean 0 and deviation 1 over concepts. At sparsity s all c_i with |c_i| at most that of place
    floor(M*s), counted from 0 in ascending order, are put to 0, so that at least one goes; logistic regression on the
    rest names the picture. The inherent interpretability score is the area under accuracy(s) / accuracy of the linear
    head over s of 0 to 0.98, by trapezoids: 0.98 where nothing is lost. After arXiv 2510.24105, whose heads are trained
    by Adam.
    """

    kind: ClassVar[Kind] = "concept"
    reading: ClassVar[str] = "the strength of each concept that is left"
    levels: ClassVar[tuple[float, ...]] = SPARSITIES

    concepts: int = 200
    """Concepts M, 4 to 4000; at most half as many as there are different places to find them in."""
    sparsity: float = 0.9
    """Share of concepts left out of the head whose accuracy is told: one of 0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(4 <= self.concepts <= 4000, f"concepts must be 4 to 4000, not {self.concepts}")
        require(self.sparsity in SPARSITIES, f"sparsity must be one of {SPARSITIES}, not {self.sparsity}")

    def fitted(self, places: Places, truth: Codes, groups: Codes, classes: int) -> FittedHead:
        """See the family. Raises `BadInput` for places that hardly differ."""
        concepts = unit_centres(places.reshape(-1, places.shape[2]), self.concepts, self.seed)
        return fitted_concepts(concepts, places, truth, groups, self.strengths, self.seed, self.sparsity)

    def further_warnings(self, places: Places) -> tuple[str, ...]:
        """See the family: of too few places for the concepts, and of sparsities that leave none."""
        return concept_warnings(places, self.concepts)
