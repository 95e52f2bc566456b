"""`SumCorrection`: from the sums of layers' costs to the costs of whole networks, by networks that were measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats
from scipy.optimize import nnls

LEAST_SD = 0.01
UNKNOWN_SD = 0.15
"""Relative standard deviation where fewer than three networks were measured."""
ENOUGH, ENOUGH_FOR_HOST = 3, 6
"""Networks from which κ is taken, and from which the cost beside the layers is told apart from it."""
GAIN = 0.9
"""Error of left-out networks, over that of a simpler correction, up to which a further term is taken."""


class WholeCost(NamedTuple):
    """A measured network beside the sum of its layers."""

    measured: float
    summed: float
    passes: int = 0
    """Forward and backward passes of its layers."""
    steps: int = 1


@dataclass(frozen=True)
class SumCorrection:
    """The cost of a network from the sum of its layers': factor · sum + step · steps + layer_pass · passes.

    What a network costs beside its layers, such as the program that calls them, no layer alone shows.
    """

    factor: float = 1.0
    """κ."""
    step: float = 0.0
    """Cost of a step beside its layers."""
    layer_pass: float = 0.0
    """Cost of each forward or backward pass of a layer beside the layer's own."""
    relative_sd: float = UNKNOWN_SD
    """Relative standard deviation of a new network's cost around it."""

    def __call__(self, summed: float, passes: int, steps: int) -> float:
        """The corrected cost of so many steps, whose layers pass so often."""
        return self.factor * summed + self.layer_pass * passes + self.step * steps

    @classmethod
    def of(cls, networks: Sequence[WholeCost]) -> "SumCorrection":
        """From measured networks.

        κ is the median of measured over summed costs where it lies beyond two standard errors of 1, else 1.
        From six networks on, terms of a step and of a layer's pass are fitted beside κ, all at least 0, by least
        squares of relative errors, and each is kept where networks that are left out are predicted better by a tenth.
        The spread is that of one further network's measured over corrected cost, SD √(1 + 1/n) t(0.975, n - p) / 1.96
        for p terms, at least 0.01.
        """
        known = [one for one in networks if one.summed > 0]
        if len(known) < ENOUGH:
            return cls()
        ratios = np.array([one.measured / one.summed for one in known])
        best, terms = cls(factor=_level(ratios)), 1
        if len(known) >= ENOUGH_FOR_HOST:
            best, terms = _with_host(known, best)
        fitted = np.array([one.measured / best(one.summed, one.passes, one.steps) for one in known])
        spread = float(fitted.std(ddof=1)) if terms == 1 else _spread(fitted, terms)
        n = len(known)
        wide = spread * np.sqrt(1 + 1 / n) * stats.t.ppf(0.975, n - terms) / 1.96
        return cls(best.factor, best.step, best.layer_pass, max(LEAST_SD, float(wide)))


def _level(ratios: Float[ndarray, "n"]) -> float:
    """κ alone: the median ratio where the mean is not level with 1."""
    spread = float(ratios.std(ddof=1))
    return float(np.median(ratios)) if abs(np.median(ratios) - 1) > 2 * spread / np.sqrt(len(ratios)) else 1.0


def _spread(ratios: Float[ndarray, "n"], terms: int) -> float:
    return float(np.sqrt((ratios - 1) @ (ratios - 1) / (len(ratios) - terms)))


def _with_host(known: Sequence[WholeCost], alone: SumCorrection) -> tuple[SumCorrection, int]:
    """The best of κ alone and of κ with one or both further terms, and its number of terms."""
    columns = np.array([[one.summed, one.steps, one.passes] for one in known], np.float64)
    measured = np.array([one.measured for one in known])
    best, terms = alone, 1
    ratios = measured / columns[:, 0]
    error = float(np.mean([abs(_level(np.delete(ratios, k)) / one - 1) for k, one in enumerate(ratios)]))
    for chosen in ((0, 1), (0, 2), (0, 1, 2)):
        part = columns[:, chosen]
        left_out = [
            abs(part[k] @ _weights(np.delete(part, k, 0), np.delete(measured, k)) / measured[k] - 1)
            for k in range(len(known))
        ]
        if (found := float(np.mean(left_out))) < GAIN * error:
            weights = dict(zip(chosen, _weights(part, measured), strict=True))
            best = SumCorrection(float(weights[0]), float(weights.get(1, 0.0)), float(weights.get(2, 0.0)))
            error, terms = found, len(chosen)
    return best, terms


def _weights(columns: Float[ndarray, "n p"], measured: Float[ndarray, "n"]) -> Float[ndarray, "p"]:
    """Weights of at least 0 of the least relative squared error."""
    return nnls(columns / measured[:, None], np.ones(len(measured)))[0]
