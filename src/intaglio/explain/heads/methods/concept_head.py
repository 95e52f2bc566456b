"""concept-head: logistic regression on the few concepts that a picture has most of."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Any, ClassVar, cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.cluster import KMeans

from intaglio.errors import BadInput, require
from intaglio.explain.heads.family import Kind, ReadableHead
from intaglio.explain.heads.fitted_head import MOST_GROUPS, FittedHead, HeadExplanation, Places, most_of
from intaglio.explain.heads.logistic_fits import chosen_logistic, weights_by_class
from intaglio.explain.probe_scores import Codes

SPARSITIES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98)
"""Shares of concepts left out at which the score of interpretability is measured."""
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class ConceptHead(ReadableHead):
    """Linear head on the concepts that a picture has most of, and how much of the accuracy they keep.

    Concepts are M unit vectors p_i [d], the k-means centres of features of places; a picture's scores are c = x P^T
    [M], taken to mean 0 and deviation 1 over concepts. At sparsity s all c_i with |c_i| at most that of place
    floor(M*s), counted from 0 in ascending order, are put to 0, so that at least one goes; logistic regression on the
    rest names the picture. The inherent interpretability score is the area under accuracy(s) / accuracy of the linear
    head over s of 0 to 0.98, by trapezoids: 0.98 where nothing is lost. After arXiv 2510.24105, whose heads are trained
    by Adam and whose fine-tuning of the network for this score is not built here.
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
        count = centre_count(places.reshape(-1, places.shape[2]), self.concepts)
        found = list[str]()
        if count < self.concepts:
            found.append(f"there are places for {count} concepts, not for {self.concepts}; give more pictures")
        if empty := [one for one in SPARSITIES if kept_count(count, one) == 0]:
            found.append(
                f"of {count} concepts none is left at sparsity {', '.join(map(str, empty))}, where the head guesses; "
                "give --concepts 51 or more, and pictures enough for them"
            )
        return tuple(found)


def centre_count(rows: Float[ndarray, "r d"], most: int) -> int:
    """Count of centres that the rows allow: half as many as differ, at most `most`."""
    return min(most, len(np.unique(rows, axis=0)) // 2)


def unit_centres(rows: Float[ndarray, "r d"], most: int, seed: int) -> Float[ndarray, "c d"]:
    """K-means centres of the rows, of unit length. Raises `BadInput` for rows that hardly differ."""
    count = centre_count(rows, most)
    if count < 4:
        raise BadInput("the places of the pictures hardly differ, so that there are no concepts; take another layer")
    centres = KMeans(count, n_init=cast(Any, 1), random_state=seed).fit(rows).cluster_centers_
    return centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), ROUNDING)


def concept_scores(rows: Float[ndarray, "m d"], concepts: Float[ndarray, "c d"]) -> Float[ndarray, "m c"]:
    """Products of features and unit concepts, taken to mean 0 and deviation 1 over the concepts of each row."""
    scores = rows @ concepts.T
    return (scores - scores.mean(1, keepdims=True)) / np.sqrt(scores.var(1, keepdims=True) + 1e-5)


def kept_scores(scores: Float[ndarray, "m c"], sparsity: float) -> Float[ndarray, "m c"]:
    """The scores above the threshold of their row in size; the others are 0."""
    sizes = np.abs(scores)
    place = scores.shape[1] - 1 - kept_count(scores.shape[1], sparsity)
    threshold = np.sort(sizes, axis=1)[:, [place]]
    return np.where(sizes > threshold, scores, 0.0)


def kept_count(concepts: int, sparsity: float) -> int:
    """Concepts left of so many, where no two sizes are equal."""
    return concepts - 1 - floor(concepts * sparsity + ROUNDING)


def fitted_concepts(
    concepts: Float[ndarray, "c d"],
    places: Places,
    truth: Codes,
    groups: Codes,
    strengths: Sequence[float],
    seed: int,
    sparsity: float,
) -> FittedHead:
    """A head at each sparsity on given unit concepts, of which that of `sparsity` answers."""
    scores = concept_scores(places.mean(1), concepts)
    heads = [
        chosen_logistic(kept_scores(scores, one), truth, groups, strengths, seed, centred=False) for one in SPARSITIES
    ]
    return _Concepts(concepts, tuple(heads), SPARSITIES.index(sparsity))


@dataclass(frozen=True, eq=False)
class _Concepts(FittedHead):
    concepts: Float[ndarray, "c d"]
    heads: tuple[Any, ...]
    """One a sparsity."""
    told: int
    """Place of the one that answers."""

    def predict(self, places: Places) -> Codes:
        """See the contract."""
        return self.by_level(places)[self.told]

    def by_level(self, places: Places) -> Sequence[Codes]:
        """See the contract."""
        scores = concept_scores(places.mean(1), self.concepts)
        return [head.predict(kept_scores(scores, one)) for head, one in zip(self.heads, SPARSITIES, strict=True)]

    def sizes(self, places: Places) -> Float[ndarray, "m"]:
        """See the contract: the concepts that are left."""
        return (self._kept(places) != 0).sum(1).astype(np.float64)

    def explained(self, places: Places, names: Sequence[str], truth: Codes, classes: Sequence[str]) -> HeadExplanation:
        """See the contract: the two concepts that speak most for each class, with pictures that have most of them."""
        kept = self._kept(places)
        weights = weights_by_class(self.heads[self.told][1])
        order = np.argsort(-weights, axis=1, kind="stable")[:, :2]
        table, pictures = list[tuple[str, ...]](), list[tuple[str, tuple[str, ...]]]()
        for k, name in enumerate(classes):
            for concept in order[k].tolist():
                share = (kept[:, concept] != 0).mean()
                table.append((name, f"concept {concept}", f"{weights[k, concept]:.2f}", f"{share:.2f}"))
            first = int(order[k, 0])
            pictures.append((f"{name}: most of concept {first}", most_of(kept[:, first], names)))
        text = (
            f"Concepts that speak most for each label, of {len(self.concepts)}; the share is of pictures in which one "
            "is left."
        )
        return HeadExplanation(
            text, ("label", "concept", "weight", "share"), tuple(table), tuple(pictures[:MOST_GROUPS])
        )

    def _kept(self, places: Places) -> Float[ndarray, "m c"]:
        return kept_scores(concept_scores(places.mean(1), self.concepts), SPARSITIES[self.told])
