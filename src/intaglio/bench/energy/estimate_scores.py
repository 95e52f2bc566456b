"""`Scores`: errors, order and coverage of estimates beside the truth."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from intaglio.energy.step_estimate import StepEstimate


class Scores(NamedTuple):
    """Figures of one method on one device."""

    mape: float
    """Mean of |estimate / truth - 1|."""
    median: float
    """Its median."""
    worst_tenth: float
    """Its 90th percentile."""
    bias: float
    """Mean of estimate / truth - 1."""
    rank: float
    """Spearman's rank correlation of estimates and truth; nan where either is constant."""
    coverage_95: float | None
    """Share of truths within the intervals; None for a method without intervals."""


def scores_of(estimates: Sequence[StepEstimate], truth: Sequence[float]) -> Scores:
    """The scores of estimates of networks whose costs are known, each above 0."""
    amounts, true = np.array([one.amount for one in estimates]), np.array(truth)
    errors = amounts / true - 1
    varied = len(set(amounts)) > 1 and len(set(truth)) > 1
    rank = float(np.corrcoef(stats.rankdata(amounts), stats.rankdata(true))[0, 1]) if varied else float("nan")
    inside = [one.interval[0] <= cost <= one.interval[1] for one, cost in zip(estimates, truth, strict=True)]
    known = all(np.isfinite(one.sd) for one in estimates)
    return Scores(
        float(np.abs(errors).mean()),
        float(np.median(np.abs(errors))),
        float(np.quantile(np.abs(errors), 0.9)),
        float(errors.mean()),
        rank,
        float(np.mean(inside)) if known else None,
    )
