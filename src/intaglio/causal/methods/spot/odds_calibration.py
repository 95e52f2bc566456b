"""Calibration of scores that were learnt from balanced classes: the odds of the population, and a temperature."""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray
from scipy.optimize import minimize
from scipy.special import expit, logit

from intaglio.errors import BadInput

SMALLEST_SCORE = 1e-6
"""Scores are kept this far from 0 and 1, so that no pair's odds are infinite."""
PULL = 1e-6
"""Weight of the squared dependences on size, which keeps them defined where all simulations have one size."""
VARIABLES, ROWS = 30, 1000
"""Size at which the logit of the positive rate is the offset alone."""
TEMPERATURES = (0.05, 20.0)
"""Range of the temperature."""


@dataclass(frozen=True)
class OddsCalibration:
    """The map logit s = (logit s_bal + o) / T, with o = c + a log10(d / 30) + b log10(n / 1000).

    A score s_bal learnt from as many positives as negatives is too high by the odds of the population that it is used
    on; o is the logit of its positive rate, which falls with the number of variables d.

    Raises:
        ValueError: a temperature that is not above 0, or a coefficient that is not finite.
    """

    offset: float = 0.0
    """c: logit of the positive rate at 30 variables and 1000 rows."""
    by_variables: float = 0.0
    """a: change of the logit for ten times the variables."""
    by_rows: float = 0.0
    """b: change of the logit for ten times the rows."""
    temperature: float = 1.0
    """T, above 0; above 1 it draws probabilities towards a half."""

    def __post_init__(self):
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature is a number above 0, not {self.temperature}")
        for name, value in asdict(self).items():
            if not np.isfinite(value):
                raise ValueError(f"{name} is a finite number, not {value}")

    def __call__(self, balanced: Float64[ndarray, "..."], variables: int, rows: int) -> Float64[ndarray, "..."]:
        """Calibrated probabilities of the scores of one table."""
        shift = self.offset + self.by_variables * _of_variables(variables) + self.by_rows * _of_rows(rows)
        return expit((_logit(balanced) + shift) / self.temperature)


def fit_odds_calibration(
    balanced: Float64[ndarray, "k"],
    adjacent: Bool[ndarray, "k"],
    variables: Float64[ndarray, "k"],
    rows: Float64[ndarray, "k"],
) -> OddsCalibration:
    """The calibration of least cross-entropy over pairs of held-out simulations; the fit is a convex problem.

    Args:
        balanced: scores in [0, 1] of pairs from graphs that the score was not learnt from, all pairs of each graph.
        adjacent: whether the pair is adjacent in the MAG.
        variables: number of variables of the pair's table.
        rows: number of rows of it.

    Raises:
        BadInput: pairs that are all adjacent or all not, of which no odds can be learnt.
    """
    if adjacent.all() or not adjacent.any():
        raise BadInput("all pairs have one label, so that no odds can be learnt; simulate more graphs")
    design = np.column_stack([_logit(balanced), np.ones(len(balanced)), _of_variables(variables), _of_rows(rows)])

    def loss(weights: ndarray) -> tuple[float, ndarray]:
        found = design @ weights
        pull = PULL * np.array([0.0, 0.0, 1.0, 1.0]) * weights
        value = (np.logaddexp(0, found) - adjacent * found).mean() + pull @ weights / 2
        return float(value), design.T @ (expit(found) - adjacent) / len(found) + pull

    start = np.array([1.0, logit(adjacent.mean()), 0.0, 0.0])
    bounds = [(1 / TEMPERATURES[1], 1 / TEMPERATURES[0]), *[(None, None)] * 3]
    slope, *shift = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-9}).x
    offset, by_variables, by_rows = (float(part / slope) for part in shift)
    return OddsCalibration(offset, by_variables, by_rows, float(1 / slope))


def _logit(scores: Float64[ndarray, "..."]) -> Float64[ndarray, "..."]:
    return logit(np.clip(scores, SMALLEST_SCORE, 1 - SMALLEST_SCORE))


def _of_variables(variables: Float64[ndarray, "k"] | int) -> Float64[ndarray, "k"] | float:
    return np.log10(variables / VARIABLES)


def _of_rows(rows: Float64[ndarray, "k"] | int) -> Float64[ndarray, "k"] | float:
    return np.log10(rows / ROWS)
