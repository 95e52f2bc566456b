"""Coverage of a known training set by extracted pictures: average similarity (AS) and extraction rate (A-ESR)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Similarity


@dataclass(frozen=True, eq=False)
class Coverage:
    """The nearest extracted picture of each training picture.

    Further guesses never lower any of this, so the number of extracted pictures belongs beside every figure.
    """

    similarity: Float[Tensor, "n"]
    """Similarity of each training picture with its nearest extracted one."""
    nearest: tuple[str, ...]
    """Name of the nearest extracted picture, for each training picture."""
    extracted: int
    """Number of extracted pictures."""

    @property
    def average(self) -> float:
        """AS, the mean of the similarities (arXiv 2410.03039)."""
        return float(self.similarity.double().mean())

    def rate(self, threshold: float) -> float:
        """A-ESR, the share of training pictures with an extracted one more than `threshold` alike (the same paper)."""
        return float((self.similarity > threshold).double().mean())


def coverage(training: ImageSet, extracted: ImageSet, similarity: Similarity) -> Coverage:
    """Compare every training picture with every extracted one. Raises `ValueError` where either set is empty."""
    if not len(training) or not len(extracted):
        raise ValueError("coverage needs at least one training picture and one extracted picture")
    best = similarity.matrix(training.pixels, extracted.pixels).max(1)
    return Coverage(best.values, tuple(extracted.names[i] for i in best.indices.tolist()), len(extracted))


def fitted_threshold(apart: Float[Tensor, "m"], rate: float) -> float:
    """The similarity that different pictures of one kind exceed at most at `rate`.

    A threshold belongs to its encoder: those published for one do not carry over to another.

    Args:
        apart: similarities of pairs that are known to be different pictures of the kind in question.
        rate: of such pairs allowed above, in (0, 1).

    Raises:
        ValueError: a rate outside (0, 1), or fewer pairs than it needs.
    """
    if not 0 < rate < 1:
        raise ValueError(f"the rate must lie between 0 and 1, not {rate}")
    if len(apart) * rate < 1:
        raise ValueError(f"a rate of {rate:g} needs at least {int(1 / rate)} pairs, there are {len(apart)}")
    allowed = int(len(apart) * rate)
    # The highest value that is not allowed: what counts must lie strictly above it.
    return float(apart.sort(descending=True).values[allowed])
