"""`SumCorrection`: the factor κ between measured networks and the sums of their layers, with its spread."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEAST_SD = 0.01
UNKNOWN_SD = 0.15
"""Relative standard deviation where fewer than three networks were measured."""
ENOUGH = 3


@dataclass(frozen=True)
class SumCorrection:
    """κ and the relative standard deviation of a new network's own factor."""

    factor: float = 1.0
    relative_sd: float = UNKNOWN_SD
    ratios: tuple[float, ...] = ()
    """Measured over summed costs, of each network."""

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> "SumCorrection":
        """From measured and summed costs of networks.

        κ is the median of the ratios where their mean lies beyond two standard errors of 1, else 1. The spread is that
        of one further network, SD √(1 + 1/n) t(0.975, n - 1) / 1.96, at least 0.01.
        """
        ratios = np.array([measured / summed for measured, summed in pairs if summed > 0])
        if (n := len(ratios)) < ENOUGH:
            return cls(ratios=tuple(ratios.tolist()))
        spread, median = float(ratios.std(ddof=1)), float(np.median(ratios))
        wide = spread * np.sqrt(1 + 1 / n) * stats.t.ppf(0.975, n - 1) / 1.96
        factor = median if abs(median - 1) > 2 * spread / np.sqrt(n) else 1.0
        return cls(factor, max(LEAST_SD, float(wide)), tuple(ratios.tolist()))
