"""Quality of a skeleton's probabilities on simulations with known MAGs: discrimination and calibration."""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray
from scipy.stats import rankdata

from intaglio.errors import BadInput

BINS = 10
"""Bins of equal width over [0, 1] of the expected calibration error."""
SMALLEST = 1e-12
"""Probabilities are kept this far from 0 and 1 in the log-loss."""


@dataclass(frozen=True)
class PosteriorQuality:
    """Figures of probabilities against labels, over all pairs."""

    log_loss: float
    """Mean of -log of the probability of what is true, in nats; smaller is better, proper."""
    brier: float
    """Mean squared difference of probability and label, 0 to 1; smaller is better, proper."""
    auroc: float
    """Probability that an adjacent pair has the higher number of the two, 0 to 1; ties count half."""
    auprc: float
    """Mean precision over the adjacent pairs, by falling probability, 0 to 1; ties are taken together."""
    ece: float
    """Expected calibration error: mean of |mean probability - share of adjacent| over ten bins, by their counts."""
    pairs: int
    """Number of pairs."""
    rate: float
    """Share of adjacent pairs: the value of `auprc` without information."""

    def to_json(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


def posterior_quality(probabilities: Float64[ndarray, "k"], adjacent: Bool[ndarray, "k"]) -> PosteriorQuality:
    """The figures of the probabilities of pairs with known adjacency.

    Raises:
        BadInput: pairs that are all adjacent or all not, or a number that is no probability.
    """
    if adjacent.all() or not adjacent.any():
        raise BadInput("all pairs have one label, so that nothing tells them apart; simulate more graphs")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise BadInput("some of the numbers are no probabilities; give numbers from 0 to 1")
    inside = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    positives = int(adjacent.sum())
    ranks = rankdata(probabilities)[adjacent].sum() - positives * (positives + 1) / 2
    return PosteriorQuality(
        log_loss=float(-np.where(adjacent, np.log(inside), np.log1p(-inside)).mean()),
        brier=float(((probabilities - adjacent) ** 2).mean()),
        auroc=float(ranks / (positives * (len(adjacent) - positives))),
        auprc=_mean_precision(probabilities, adjacent),
        ece=_calibration_error(probabilities, adjacent),
        pairs=len(adjacent),
        rate=float(adjacent.mean()),
    )


def _mean_precision(probabilities: Float64[ndarray, "k"], adjacent: Bool[ndarray, "k"]) -> float:
    """Precision among the pairs with at least the probability of an adjacent one, averaged over the adjacent ones."""
    levels, which = np.unique(-probabilities, return_inverse=True)
    hits = np.bincount(which, adjacent, len(levels))
    precision = np.cumsum(hits) / np.cumsum(np.bincount(which, minlength=len(levels)))
    return float((hits * precision).sum() / hits.sum())


def _calibration_error(probabilities: Float64[ndarray, "k"], adjacent: Bool[ndarray, "k"]) -> float:
    cell = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(cell, probabilities - adjacent, BINS)).sum() / len(adjacent))
