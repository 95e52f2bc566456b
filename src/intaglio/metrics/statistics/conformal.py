"""Conformal p-values, thresholds and false-positive rates from scores of controls, which cannot have been in the set.

All of it rests on one premise: a picture that was not in the set is exchangeable with the controls (same kind of
pictures, same prompt, same treatment). Then the p-values are valid whatever the score's distribution (conformal
p-values; Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005).

Where the sign of a score is not known beforehand, both sides count: p = 2 min(p above, p below), at most 1. Each side
then has half of the rate, so that it takes twice as many controls.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from intaglio.metrics.statistics.enough_controls import Sides, tails

EXACT_LIMIT = 80
"""Most pictures in both groups together for which the rank test is enumerated exactly."""
PERMUTATIONS = 9_999


@dataclass(frozen=True)
class Threshold:
    """A threshold calibrated on controls for an asked false-positive rate."""

    asked_rate: float
    """False-positive rate asked for, in (0, 1)."""
    controls: int
    """Controls with a score."""
    attainable_rate: float
    """The lowest rate that this many controls can support: 1/(controls + 1), or twice that where both sides count."""
    value: float | None
    """A picture is called when its score is above this; `None` when there are too few controls to call any."""
    rate: float | None
    """Expected false-positive rate of the threshold, at most the asked one."""
    observed: int
    """Controls above the threshold, and where both sides count those below `lower` too."""
    interval: tuple[float, float] | None
    """95% Clopper-Pearson interval for the false-positive rate of this very threshold."""
    unscored: int = 0
    """Controls that have no score and are not counted among `controls`."""
    sides: Sides = "upper"
    """Whether scores above the controls' make a call, or those to both sides of them."""
    lower: float | None = None
    """Where both sides count: a picture is also called when its score is below this."""

    @property
    def bounds(self) -> tuple[float, ...]:
        """The thresholds that there are, in rising order: none, `value`, or `lower` and `value`."""
        return tuple(bound for bound in (self.lower, self.value) if bound is not None)

    def beyond(self, score: float) -> bool:
        """Whether a score lies above the threshold, or below the lower one where both sides count."""
        above = self.value is not None and score > self.value
        return above or (self.lower is not None and score < self.lower)

    @property
    def place(self) -> str:
        """The words for what lies beyond."""
        return "above the threshold" if self.sides == "upper" else "beyond the two thresholds"

    @property
    def enough(self) -> bool:
        """Whether the controls support the asked rate at all."""
        return self.value is not None

    @property
    def statement(self) -> str:
        """The rate in words: how it was calibrated, its interval, the lowest that the controls support."""
        if self.interval is None:
            return too_few(self.controls, self.asked_rate, self.unscored, self.sides)
        low, high = self.interval
        return (
            f"at most {self.asked_rate:.2%} of pictures that were not in the set are called, calibrated on "
            f"{self.controls} controls ({self.observed} {self.place}; 95% interval of the rate "
            f"{low:.1%} to {high:.1%}; the lowest rate {self.controls} controls can support is "
            f"{self.attainable_rate:.1%})"
        )


def p_values(scores: ArrayLike, controls: ArrayLike, sides: Sides = "upper") -> NDArray[np.float64]:
    """Conformal p-values [m]: (1 + controls at or above the score) / (controls + 1); NaN for a NaN score.

    With both sides twice the smaller of that and of (1 + controls at or below the score) / (controls + 1), at most 1.
    With no controls every p-value is 1. Controls that are NaN are left out.
    """
    tested = np.asarray(scores, dtype=np.float64).ravel()
    known = _known(controls)
    reaching = (known[None] >= tested[:, None]).sum(1)
    if sides == "both":
        reaching = np.minimum(reaching, (known[None] <= tested[:, None]).sum(1))
    p = np.minimum(1, tails(sides) * (1 + reaching) / (known.size + 1))
    return np.where(np.isnan(tested), np.nan, p)


def needed_controls(rate: float, sides: Sides = "upper") -> int:
    """Fewest controls that support an asked false-positive rate: ceil(1/rate) - 1, or ceil(2/rate) - 1."""
    return math.ceil(tails(sides) / rate - 1e-9) - 1


def too_few(controls: int, rate: float, unscored: int = 0, sides: Sides = "upper") -> str:
    """The sentence for controls, with others that have no score, that cannot support the asked rate."""
    twice = ", as scores to both sides count" if sides == "both" else ""
    scored = f"{controls + unscored}, of which {controls} have a score" if unscored else f"{controls}"
    return (
        f"too few controls for the asked rate: {rate:.2%} needs at least {needed_controls(rate, sides)} controls"
        f"{twice}, there are {scored}, which support nothing below {_attainable(controls, sides):.1%}; no picture is "
        "called"
    )


def _attainable(controls: int, sides: Sides) -> float:
    return min(1.0, tails(sides) / (controls + 1))


def called(p: ArrayLike, rate: float) -> NDArray[np.bool_]:
    """The p-values that make a call at the asked rate; NaN makes none."""
    # p-values are fractions with a small denominator; the slack only undoes rounding, as in 3/60 against 0.05.
    return np.asarray(p, dtype=np.float64) <= rate * (1 + 1e-12)


def threshold(controls: ArrayLike, rate: float, level: float = 0.95, sides: Sides = "upper") -> Threshold:
    """The threshold for an asked false-positive rate in (0, 1), or with both sides the two thresholds.

    Calls `score > value`, and with both sides `score < lower`, are exactly those with a p-value <= rate. A threshold
    is a control's own score, so the interval's upper end holds for it as an order statistic too: given the controls,
    its rate follows Beta(observed + 1, controls - observed) when scores have no ties. Between two thresholds lies one
    order statistic fewer, so that the rate follows Beta(observed + 2, controls - observed - 1): the interval is that
    of one control more. Raises `ValueError` for a rate outside (0, 1).
    """
    if not 0 < rate < 1:
        raise ValueError(f"the false-positive rate must lie between 0 and 1, not {rate}")
    known = np.sort(_known(controls))[::-1]
    unscored = int(np.size(controls)) - known.size
    allowed = math.floor(rate * (known.size + 1) * (1 + 1e-12) / tails(sides)) - 1
    attainable = _attainable(known.size, sides)
    if allowed < 0 or not known.size:
        return Threshold(rate, known.size, attainable, None, None, 0, None, unscored, sides)
    value = float(known[allowed])
    lower = float(known[::-1][allowed]) if sides == "both" else None
    observed = int((known > value).sum()) + (0 if lower is None else int((known < lower).sum()))
    return Threshold(
        asked_rate=rate,
        controls=known.size,
        attainable_rate=attainable,
        value=value,
        rate=(observed + tails(sides)) / (known.size + 1),
        observed=observed,
        interval=clopper_pearson(observed + tails(sides) - 1, known.size, level),
        unscored=unscored,
        sides=sides,
        lower=lower,
    )


def clopper_pearson(count: int, total: int, level: float = 0.95) -> tuple[float, float] | None:
    """Exact interval of a share in [0, 1], seen `count` times in `total`; `None` where `total` is 0."""
    if total <= 0:
        return None
    found = binomtest(count, total).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class RankTest:
    """Mann-Whitney test that a whole set scores higher than the controls, or with both sides otherwise than these."""

    p_value: float | None
    """Chance of so high a rank sum if the set were no different from the controls, with both sides of one so far from
    the middle; `None` where a group is empty."""
    smallest: float | None
    """The smallest value this test could have given with so many pictures."""
    exact: bool
    """Whether all assignments were counted; else `permutations` random ones."""
    pictures: int
    """Pictures tested."""
    controls: int
    """Controls they are tested against."""
    sides: Sides = "upper"
    """Whether only a set that scores higher counts, or one that scores lower too."""


def rank_test(
    scores: ArrayLike, controls: ArrayLike, *, seed: int = 0, permutations: int = PERMUTATIONS, sides: Sides = "upper"
) -> RankTest:
    """Mann-Whitney test, one-sided (scores above controls) unless both sides count, ties by midranks.

    Exact up to `EXACT_LIMIT` pictures in all; beyond, (1 + assignments at least as extreme) / (permutations + 1). With
    both sides twice the smaller of the two one-sided p-values, at most 1.
    """
    tested, known = _known(scores), _known(controls)
    m, n = tested.size, known.size
    if not m or not n:
        return RankTest(None, None, True, m, n, sides)
    ranks = _doubled_midranks(np.concatenate([tested, known]))
    observed = int(ranks[:m].sum())
    if m + n <= EXACT_LIMIT:
        upper, below, ways = *_exact_tails(ranks, m, observed), math.comb(m + n, m)
    else:
        generator, ways = np.random.default_rng(seed), permutations + 1
        sums = np.array([generator.permutation(ranks)[:m].sum() for _ in range(permutations)])
        upper, below = ((1 + int(tail.sum())) / ways for tail in (sums >= observed, sums <= observed))
    count = tails(sides)
    p = upper if sides == "upper" else min(1.0, count * min(upper, below))
    return RankTest(p, min(1.0, count / ways), m + n <= EXACT_LIMIT, m, n, sides)


def _known(values: ArrayLike) -> NDArray[np.float64]:
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[~np.isnan(flat)]


def _doubled_midranks(values: NDArray) -> NDArray[np.int64]:
    """Twice the midranks, so that ties stay whole numbers."""
    below = (values[None] < values[:, None]).sum(1)
    level = (values[None] == values[:, None]).sum(1)
    return (2 * below + level + 1).astype(np.int64)


def _exact_tails(ranks: NDArray[np.int64], chosen: int, observed: int) -> tuple[float, float]:
    """Shares of all ways to choose `chosen` of the ranks whose sum is at least, and at most, `observed`."""
    total = int(ranks.sum())
    # ways[k, s]: subsets of k of the ranks so far with sum s; float64 holds the counts to 1e-16 of their size.
    ways = np.zeros((chosen + 1, total + 1))
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : total + 1 - rank].copy()
    sums = ways[chosen]
    return float(sums[observed:].sum() / sums.sum()), float(sums[: observed + 1].sum() / sums.sum())
