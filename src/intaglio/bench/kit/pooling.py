"""Figures over many audits: an AUC within each audit, averaged over the audits; one TPR over all their pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intaglio.metrics.statistics.interval import interval
from intaglio.metrics.statistics.roc import resamples_at_once, row_aucs, tpr_at_fpr


@dataclass(frozen=True, eq=False)
class Audit:
    """Scores of one audit by one method; higher means "in the set"."""

    members: NDArray[np.float64]
    """[m]"""
    holdouts: NDArray[np.float64]
    """[n]"""


@dataclass(frozen=True)
class Area:
    """Mean over audits of the AUC within each, with a 95% interval from pictures resampled within each."""

    value: float
    low: float
    high: float


def mean_auc(audits: Sequence[Audit], *, seed: int = 0) -> Area:
    """The mean AUC; raises `ValueError` for no audits."""
    return _area(audits, lambda drawn: _mean_aucs(audits, drawn), seed)


def margin(ours: Sequence[Audit], theirs: Sequence[Audit], *, seed: int = 0) -> Area:
    """Mean AUC of one method less that of another on the same audits and, in every resampling, the same pictures."""
    return _area(ours, lambda drawn: _mean_aucs(ours, drawn) - _mean_aucs(theirs, drawn), seed)


def pooled_tpr(audits: Sequence[Audit], rate: float) -> float | None:
    """TPR at a false-positive rate over the pictures of all audits, each on the scale of its own holdouts.

    A score counts as standard deviations above the mean of the audit's holdouts, so that one threshold serves all.
    None where there are fewer holdouts than the rate needs.
    """
    scaled = [((s - a.holdouts.mean()) / max(a.holdouts.std(), 1e-12)) for a in audits for s in (a.members, a.holdouts)]
    return tpr_at_fpr(np.concatenate(scaled[::2]), np.concatenate(scaled[1::2]), rate)


Pictures = Sequence[NDArray[np.int64]]
"""Indices into an audit's members [b, m], then into its holdouts [b, n], for one audit after the other."""


def _mean_aucs(audits: Sequence[Audit], drawn: Pictures) -> NDArray[np.float64]:
    """The mean over audits of the AUC within each, for each of b choices of pictures: [b]."""
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    return np.mean([row_aucs(a.members[m], a.holdouts[n]) for a, (m, n) in zip(audits, pairs, strict=True)], axis=0)


def _area(audits: Sequence[Audit], statistic: Callable[[Pictures], NDArray[np.float64]], seed: int) -> Area:
    """The statistic at all pictures, and its interval with the pictures of each audit resampled within their group."""
    if not audits:
        raise ValueError("there are no audits to average over")
    everyone = [np.arange(len(group)) for audit in audits for group in (audit.members, audit.holdouts)]
    value = float(statistic([indices[None] for indices in everyone])[0])
    batch = min(resamples_at_once(len(audit.members), len(audit.holdouts)) for audit in audits)
    return Area(value, *interval(lambda *drawn: statistic(drawn), everyone, batch=batch, seed=seed))
