"""tuned-concepts: a head on few concepts of a network that was trained to be read by them."""

from dataclasses import dataclass
from typing import ClassVar

from intaglio.errors import require
from intaglio.explain.heads.concept_reading import SPARSITIES, concept_warnings, fitted_concepts, unit_centres
from intaglio.explain.heads.family import Kind, ReadableHead
from intaglio.explain.heads.fitted_head import FittedHead, Places
from intaglio.explain.heads.network_tuning import NetworkTuning
from intaglio.explain.probe_scores import Codes


@dataclass(frozen=True, kw_only=True)
class TunedConcepts(ReadableHead):
    """Few concepts of a network that is trained to be read by them, beside the network as it was.

    The head, its concepts and the interpretability score are those of `concept-head`. One of the folds is held out; on
    the other pictures a copy of the network learns to lower

        cross-entropy of a linear head on its end + weight * cross-entropy of a linear head on the concepts left

    with the share `taught_sparsity` of concepts left out at the layer that is read. Concepts begin as those of the
    untouched features, both heads as logistic regression on these, and all learn along, concepts and their head at five
    times the rate. Classes count alike, and the statistics of normalisation stay as they are. In the end concepts are
    found and heads fitted on the trained features, on the untouched ones, and on those of the same training without its
    second term; all answers are on the held-out pictures.

    The fine-tuning is told of in the abstract of arXiv 2510.24105 alone; this form of it is ours.
    """

    kind: ClassVar[Kind] = "concept"
    reading: ClassVar[str] = "the strength of each concept that is left"
    levels: ClassVar[tuple[float, ...]] = SPARSITIES

    concepts: int = 200
    """Concepts M, 4 to 4000; at most half as many as there are different places to find them in."""
    sparsity: float = 0.9
    """Share of concepts left out of the head whose accuracy is told: one of 0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98."""
    taught_sparsity: float = 0.7
    """Share of concepts left out while the network learns, in [0, 1)."""
    weight: float = 1.0
    """Of the loss through concepts, beside 1 of the plain one; above 0."""
    epochs: int = 20
    """Times that the network is shown every picture, from 1."""
    rows: int = 32
    """Pictures of an update, from 2."""
    learning_rate: float = 3e-4
    """Highest learning rate of AdamW, which falls along half a cosine; above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(4 <= self.concepts <= 4000, f"concepts must be 4 to 4000, not {self.concepts}")
        require(self.sparsity in SPARSITIES, f"sparsity must be one of {SPARSITIES}, not {self.sparsity}")
        _ = self.tuning  # refuses what the training does

    def fitted(self, places: Places, truth: Codes, groups: Codes, classes: int) -> FittedHead:
        """See the family. Raises `BadInput` for places that hardly differ."""
        concepts = unit_centres(places.reshape(-1, places.shape[2]), self.concepts, self.seed)
        return fitted_concepts(concepts, places, truth, groups, self.strengths, self.seed, self.sparsity)

    def further_warnings(self, places: Places) -> tuple[str, ...]:
        """See the family: of too few places for the concepts, and of sparsities that leave none."""
        return concept_warnings(places, self.concepts)

    @property
    def tuning(self) -> NetworkTuning:
        """See the family."""
        return NetworkTuning(
            concepts=self.concepts, sparsity=self.taught_sparsity, weight=self.weight, epochs=self.epochs,
            rows=self.rows, learning_rate=self.learning_rate, strengths=self.strengths, side=self.side, seed=self.seed,
        )  # fmt: skip
