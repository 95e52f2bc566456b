"""Evaluation of an extraction against a known training set, with held-out pictures as the null."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.extract.coverage import Coverage, coverage, fitted_threshold
from intaglio.extract.extracted import Extraction
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Embedding
from intaglio.metrics.statistics.false_discovery import q_values

LOOSE_RATE, STRICT_RATE = 0.01, 0.001
"""Shares of pairs of different pictures that exceed the loose and the strict threshold."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Comparison of extracted pictures (finds) with the training set."""

    coverage: Coverage
    """Coverage of the training set by all finds."""
    nearest: tuple[str, ...]
    """Name of the training picture nearest to each find."""
    similarity: Float[Tensor, "n"]
    """Similarity of each find with its nearest training picture."""
    held_out: Float[Tensor, "n"] | None
    """Similarity of each find with its nearest picture that was not trained on; None where none are known."""
    loose: float | None
    """Similarity that one in a hundred pairs of a training and a held-out picture exceeds; None for too few pairs."""
    strict: float | None
    """Similarity that one in a thousand such pairs exceeds; None for too few pairs."""
    matches: Float[ndarray, "n"] | None
    """q-value of each find's match with the training set; the null are its matches with as many held-out pictures, see
    `q_values`."""


def check_held_out(training: ImageSet, held_out: ImageSet) -> None:
    """Raises `BadInput` for fewer held-out pictures than training pictures, or a picture in both."""
    if len(held_out) < len(training):
        raise BadInput(
            f"{len(held_out)} held-out pictures cannot stand for {len(training)} training pictures; give at least as "
            "many, of the same kind"
        )
    if pairs := training.duplicates(held_out):
        raise BadInput(f"{pairs[0][0]} is in the training set and, as {pairs[0][1]}, among the held-out pictures")


def evaluate(
    extraction: Extraction, training: ImageSet, held_out: ImageSet | None, similarity: Embedding
) -> Evaluation | None:
    """The evaluation; None where nothing was extracted. `held_out` are pictures that were not trained on."""
    if not len(extraction.pictures):
        return None
    alike = similarity.matrix(extraction.pictures.pixels, training.pixels)
    best = alike.max(1)
    nearest = tuple(training.names[i] for i in best.indices.tolist())
    covered = coverage(training, extraction.pictures, similarity)
    if held_out is None:
        return Evaluation(covered, nearest, best.values, None, None, None, None)
    apart = similarity.matrix(training.pixels, held_out.pixels).flatten()
    others = similarity.matrix(extraction.pictures.pixels, held_out.pixels)
    loose, strict = (
        fitted_threshold(apart, rate) if len(apart) * rate >= 1 else None for rate in (LOOSE_RATE, STRICT_RATE)
    )
    # Subsets as large as the training set, so that the nearest of each is a fair stand-in for its nearest.
    subsets = len(held_out) // len(training)
    null = torch.stack([part.max(1).values for part in others[:, : subsets * len(training)].split(len(training), 1)])
    matches = q_values(best.values, null.flatten())
    return Evaluation(covered, nearest, best.values, others.max(1).values, loose, strict, matches)
