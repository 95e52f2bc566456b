"""RuleFidelity of a model to a black box: the share of the variation of its probabilities that is told."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.metrics.statistics.interval import interval

CURVE = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 60, 80, 100)
"""Counts of features that fidelity is measured at."""
ENOUGH = 0.95
"""Share of the largest fidelity at which the curve is taken to be flat."""


@dataclass(frozen=True)
class RuleFidelity:
    """R^2 with its 95% interval over rows."""

    value: float
    low: float
    high: float


def fidelity_of(
    predicted: Float[ndarray, "m k"], answers: Float[ndarray, "m k"], mean: Float[ndarray, "k"]
) -> RuleFidelity:
    """1 - sum of squared errors over that of the mean answer of the fitted rows, over rows and classes.

    1 where all is told, 0 where it is no better than the mean. Rows are resampled for the interval.
    """
    errors, whole = ((predicted - answers) ** 2).sum(1), ((mean - answers) ** 2).sum(1)
    low, high = interval(lambda e, w: 1 - e.sum(-1) / np.maximum(w.sum(-1), 1e-300), [errors, whole], paired=True)
    return RuleFidelity(float(1 - errors.sum() / max(float(whole.sum()), 1e-300)), low, high)


def counts_of(most: int, candidates: int) -> tuple[int, ...]:
    """Counts of features at which the curve is measured, up to `most` and to those that there are."""
    end = min(most, candidates)
    return (*(one for one in CURVE if one < end), end)


def knee(curve: Mapping[int, float]) -> int:
    """The least count whose fidelity is `ENOUGH` of the largest; the least count where none is above 0."""
    enough = ENOUGH * max(max(curve.values()), 0)
    return min((count for count, value in curve.items() if value >= enough > 0), default=min(curve))
