"""Figures over many audits: each is judged among its own pictures, then the audits are averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intaglio.metrics.statistics.roc import tpr_at_fpr

DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Audit:
    """Scores of one audit by one method; higher means "in the set"."""

    members: NDArray[np.float64]
    holdouts: NDArray[np.float64]


@dataclass(frozen=True)
class Area:
    """Mean over audits of the AUC within each, with a 95% interval from pictures resampled within each."""

    value: float
    low: float
    high: float


def mean_auc(audits: Sequence[Audit], *, seed: int = 0) -> Area:
    """The mean AUC; raises `ValueError` for no audits."""
    areas = [_auc(a.members[None], a.holdouts[None])[0] for a in audits]
    return _area(float(np.mean(areas)), _resampled(audits, seed))


def margin(ours: Sequence[Audit], theirs: Sequence[Audit], *, seed: int = 0) -> Area:
    """Mean AUC of one method less that of another on the same audits and, in every resampling, the same pictures."""
    value = mean_auc(ours).value - mean_auc(theirs).value
    return _area(value, _resampled(ours, seed) - _resampled(theirs, seed))


def pooled_tpr(audits: Sequence[Audit], rate: float) -> float | None:
    """TPR at a false-positive rate over the pictures of all audits, each on the scale of its own holdouts.

    A score counts as standard deviations above the mean of the audit's holdouts, so that one threshold serves all.
    None where there are fewer holdouts than the rate needs.
    """
    scaled = [((s - a.holdouts.mean()) / max(a.holdouts.std(), 1e-12)) for a in audits for s in (a.members, a.holdouts)]
    return tpr_at_fpr(np.concatenate(scaled[::2]), np.concatenate(scaled[1::2]), rate)


def _resampled(audits: Sequence[Audit], seed: int) -> NDArray[np.float64]:
    rows = []
    for place, audit in enumerate(audits):
        # A generator an audit, so that two methods with the same pictures are resampled alike.
        random = np.random.default_rng([seed, place])
        m = random.integers(len(audit.members), size=(DRAWS, len(audit.members)))
        h = random.integers(len(audit.holdouts), size=(DRAWS, len(audit.holdouts)))
        rows.append(_auc(audit.members[m], audit.holdouts[h]))
    return np.mean(rows, axis=0)


def _auc(members: NDArray[np.float64], holdouts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank AUC of each row, ties counted half: [b, m] and [b, n] to [b]."""
    above = (members[:, :, None] > holdouts[:, None, :]).mean((1, 2))
    level = (members[:, :, None] == holdouts[:, None, :]).mean((1, 2))
    return above + level / 2


def _area(value: float, draws: NDArray[np.float64]) -> Area:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Area(value, float(low), float(high))
