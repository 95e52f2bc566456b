"""Separation of two groups by a score: AUC, ROC points, TPR at a low FPR, best accuracy, bootstrap intervals.

Scores are oriented: higher means "in the set". A number that the data cannot carry (an empty group, all scores equal,
too few holdouts for the asked rate) is `None`, "undefined"; nothing here raises on data. NaN scores are left out.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intaglio.metrics.statistics.interval import Interval, interval

BOOTSTRAP_CELLS = 4_000_000
"""Pairs of a member and a holdout compared at once by a bootstrap; bounds its memory to some tens of megabytes."""


@dataclass(frozen=True)
class Separation:
    """Figures of the separation of members from holdouts by one score; `None` is "undefined"."""

    members: int
    """Members with a score."""
    holdouts: int
    """Holdouts with a score."""
    left_out: int
    """Pictures without a score (NaN), in neither count."""
    auc: float | None
    """Area under the ROC, in [0, 1]."""
    auc_interval: Interval | None
    """95% by stratified percentile bootstrap; of no width when the groups do not overlap at all."""
    best_accuracy: float | None
    """Share called rightly at the best threshold for these very scores, in [0, 1]: an upper bound, not a forecast."""
    best_threshold: float | None
    """A picture is called "in the set" when its score is at least this."""
    tpr_at_fpr: dict[float, float | None] = field(default_factory=dict)
    """True-positive rate by false-positive rate, both in [0, 1]."""
    tpr_intervals: dict[float, Interval | None] = field(default_factory=dict)
    """Their intervals, as that of the AUC."""
    roc: tuple[tuple[float, float], ...] = ()
    """(false-positive rate, true-positive rate), from (0, 0) to (1, 1)."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON; rates as text keys."""
        plain = asdict(self)
        for name in ("tpr_at_fpr", "tpr_intervals"):
            plain[name] = {f"{rate:g}": value for rate, value in plain[name].items()}
        return plain


def separation(
    members: ArrayLike,
    holdouts: ArrayLike,
    *,
    rates: tuple[float, ...] = (0.01, 0.05),
    draws: int = 2000,
    seed: int = 0,
) -> Separation:
    """All of this module's numbers for the scores of members [m] and of holdouts [n]."""
    positive, negative = _scores(members), _scores(holdouts)
    asked = np.asarray(members, float).size + np.asarray(holdouts, float).size
    best = best_accuracy(positive, negative)

    def around(statistic: Callable[[NDArray, NDArray], NDArray], value: float | None) -> Interval | None:
        if value is None:
            return None
        batch = resamples_at_once(positive.size, negative.size)
        return interval(statistic, (positive, negative), draws=draws, batch=batch, seed=seed)

    area = auc(positive, negative)
    defined = {rate: tpr_at_fpr(positive, negative, rate) for rate in rates}
    return Separation(
        members=positive.size,
        holdouts=negative.size,
        left_out=int(asked - positive.size - negative.size),
        auc=area,
        auc_interval=around(row_aucs, area),
        best_accuracy=None if best is None else best[0],
        best_threshold=None if best is None else best[1],
        tpr_at_fpr=defined,
        tpr_intervals={rate: around(partial(_row_tprs, rate=rate), value) for rate, value in defined.items()},
        roc=roc_points(positive, negative),
    )


def auc(members: ArrayLike, holdouts: ArrayLike) -> float | None:
    """Chance that a member scores above a holdout, ties counted half (the rank form of the area under the ROC)."""
    positive, negative = _scores(members), _scores(holdouts)
    if _undefined(positive, negative):
        return None
    return float(row_aucs(positive[None], negative[None])[0])


def row_aucs(members: NDArray, holdouts: NDArray) -> NDArray:
    """The AUC of each row of scores, ties counted half: [b, m] and [b, n] to [b], in [0, 1]."""
    above = members[:, :, None] > holdouts[:, None, :]
    level = members[:, :, None] == holdouts[:, None, :]
    return above.mean((1, 2)) + 0.5 * level.mean((1, 2))


def resamples_at_once(members: int, holdouts: int) -> int:
    """Rows that `row_aucs` can be given without taking more memory than `BOOTSTRAP_CELLS` asks for."""
    return max(1, BOOTSTRAP_CELLS // (members * holdouts))


def roc_points(members: ArrayLike, holdouts: ArrayLike) -> tuple[tuple[float, float], ...]:
    """(FPR, TPR) at every threshold that changes a call, from (0, 0) to (1, 1); empty where AUC is undefined."""
    positive, negative = _scores(members), _scores(holdouts)
    if _undefined(positive, negative):
        return ()
    thresholds = np.unique(np.concatenate([positive, negative]))[::-1]
    called = [(float(np.mean(negative >= tau)), float(np.mean(positive >= tau))) for tau in thresholds]
    return ((0.0, 0.0), *called)


def tpr_at_fpr(members: ArrayLike, holdouts: ArrayLike, rate: float) -> float | None:
    """Share of members above the lowest threshold at which at most a share `rate` of the holdouts is called.

    No interpolation between points of the ROC. Undefined with fewer than 1/rate holdouts, since then not one of them
    may be called and the rate cannot be told from zero.
    """
    positive, negative = _scores(members), _scores(holdouts)
    if _undefined(positive, negative) or negative.size < needed_holdouts(rate):
        return None
    return float(_row_tprs(positive[None], negative[None], rate)[0])


def needed_holdouts(rate: float) -> int:
    """Fewest holdouts with which a false-positive rate can be resolved: 1/rate, rounded up."""
    return math.ceil(1 / rate - 1e-9)


def best_accuracy(members: ArrayLike, holdouts: ArrayLike) -> tuple[float, float] | None:
    """(accuracy, threshold) of the threshold that is best for these very scores; calls are `score >= threshold`.

    The threshold is the lowest score called, or infinity where calling nothing is best.
    """
    positive, negative = _scores(members), _scores(holdouts)
    if _undefined(positive, negative):
        return None
    thresholds = np.append(np.unique(np.concatenate([positive, negative])), np.inf)
    right = [int((positive >= tau).sum() + (negative < tau).sum()) for tau in thresholds]
    best = int(np.argmax(right))
    return right[best] / (positive.size + negative.size), float(thresholds[best])


def _scores(values: ArrayLike) -> NDArray[np.float64]:
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[~np.isnan(flat)]


def _undefined(positive: NDArray, negative: NDArray) -> bool:
    if not positive.size or not negative.size:
        return True
    return bool((positive == positive[0]).all() and (negative == positive[0]).all())


def _row_tprs(positive: NDArray, negative: NDArray, rate: float) -> NDArray:
    """`tpr_at_fpr` of each row, [b, m] and [b, n] to [b]."""
    # At most `allowed` holdouts may be called, so a member is called when fewer than that many reach its score.
    allowed = math.floor(rate * negative.shape[1] + 1e-9)
    if allowed >= negative.shape[1]:
        return np.ones(len(positive))
    bar = np.sort(negative, axis=1)[:, ::-1][:, allowed]
    return (positive > bar[:, None]).mean(1)
