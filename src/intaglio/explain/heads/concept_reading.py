"""Heads on the few concepts that a picture has most of, at every share of concepts left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.cluster import KMeans

from intaglio.errors import BadInput
from intaglio.explain.heads.fitted_head import MOST_GROUPS, FittedHead, HeadExplanation, Places, most_of
from intaglio.explain.logistic_fits import chosen_logistic, weights_by_class
from intaglio.explain.probe_scores import Codes

SPARSITIES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98)
"""Shares of concepts left out at which the score of interpretability is measured."""
FEWEST = 4
"""Concepts at least."""
ROUNDING = 1e-9


def concept_warnings(places: Places, most: int) -> tuple[str, ...]:
    """Sentences on too few places for so many concepts, and on sparsities that leave none."""
    count = centre_count(places.reshape(-1, places.shape[2]), most)
    found = list[str]()
    if count < most:
        found.append(f"there are places for {count} concepts, not for {most}; give more pictures")
    if empty := [one for one in SPARSITIES if kept_count(count, one) == 0]:
        found.append(
            f"of {count} concepts none is left at sparsity {', '.join(map(str, empty))}, where the head guesses; "
            "give --concepts 51 or more, and pictures enough for them"
        )
    return tuple(found)


def centre_count(rows: Float[ndarray, "r d"], most: int) -> int:
    """Count of the centres that the rows allow: half as many as differ, at most `most`."""
    return min(most, len(np.unique(rows, axis=0)) // 2)


def unit_centres(rows: Float[ndarray, "r d"], most: int, seed: int) -> Float[ndarray, "c d"]:
    """K-means centres of the rows, of unit length. Raises `BadInput` for rows that hardly differ."""
    count = centre_count(rows, most)
    if count < FEWEST:
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
    """Which of them answers."""

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
