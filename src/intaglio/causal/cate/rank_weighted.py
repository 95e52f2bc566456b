"""Rank-weighted average treatment effects: how much more those gain who are ranked first.

After Yadlowsky et al., arXiv 2111.07966: with the scores G of units, whose mean is the average effect, TOC(q) is the
mean G of the share q that is ranked first less that of all; AUTOC is its integral over q, and Qini that of q TOC(q).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import norm

from intaglio.randomness import numpy_generator

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error."""

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95%, by the normal distribution."""
        width = float(norm.ppf((1 + LEVEL) / 2)) * self.error
        return self.value - width, self.value + width

    @property
    def p(self) -> float:
        """Of the hypothesis that it is not above 0, one-sided."""
        return float(norm.sf(self.value / self.error)) if self.error > 0 else float(self.value <= 0)


def toc(priority: Float[ndarray, "n"], scores: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """TOC(1/n), TOC(2/n), ..., TOC(1); units of one priority count as their mean."""
    _, group = np.unique(-priority, return_inverse=True)
    means = np.bincount(group, scores) / np.bincount(group)
    ranked = means[group][np.argsort(-priority, kind="stable")]
    return ranked.cumsum() / np.arange(1, len(ranked) + 1) - scores.mean()


def autoc(priority: Float[ndarray, "n"], scores: Float[ndarray, "n"]) -> float:
    """Area under the TOC."""
    return _areas(priority, scores)[0]


def qini(priority: Float[ndarray, "n"], scores: Float[ndarray, "n"]) -> float:
    """Area under q TOC(q)."""
    return _areas(priority, scores)[1]


def _areas(priority: Float[ndarray, "n"], scores: Float[ndarray, "n"]) -> tuple[float, float]:
    curve = toc(priority, scores)
    shares = np.arange(1, len(curve) + 1) / len(curve)
    return float(curve.mean()), float((shares * curve).mean())


def rank_weighted(
    priority: Float[ndarray, "n"], scores: Float[ndarray, "n"], *, resamples: int, seed: int
) -> tuple[Estimate, Estimate]:
    """AUTOC and Qini; their errors are the standard deviations over halves of the units, drawn without replacement.

    Both are 0, without error, where no unit is ranked before another.
    """
    count = len(scores)
    if np.ptp(priority) == 0:
        return Estimate(0.0, 0.0), Estimate(0.0, 0.0)
    drawn = []
    for number in range(resamples):
        half = numpy_generator(seed, 1, number).permutation(count)[: count // 2]
        drawn.append(_areas(priority[half], scores[half]))
    errors = np.std(drawn, axis=0, ddof=1)
    whole = _areas(priority, scores)
    return Estimate(whole[0], float(errors[0])), Estimate(whole[1], float(errors[1]))
