"""Gap filling by stochastic regression imputation: random draws for missing cells, given the cells that are known.

Where it depends on other columns which cells are missing, the rows that are left are a selection, on whose correlations
no graph can rest. The regression of a column on what decides its gaps is the same in all rows, and draws from it have
the law of the whole table (missing at random, D. Rubin, 1976; fully conditional specification, S. van Buuren, 2007).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.special import expit

from intaglio.causal.tables.column import ColumnKind

BURN_IN = 3
"""Rounds over all columns with gaps before the first draw; each regression takes the others' last draws."""
MOST_ROWS = 20_000
"""Rows, evenly spaced, that a regression is fitted on."""
FARTHEST = 8.0
"""Deviations at which predictors are cut."""
RIDGE = 1e-4
"""Ridge of linear regressions, relative to the variances of the predictors."""
PRIOR_SD, NEWTON_STEPS = 3.0, 8
"""Standard deviation of the prior of logistic weights, and steps of their fit."""


def filled_tables(
    values: Float[ndarray, "n d"], kinds: Sequence[ColumnKind], columns: Sequence[int], *, draws: int, seed: int
) -> list[Float[ndarray, "n d"]]:
    """Tables in which the gaps of some columns are filled; other gaps stay.

    Numbers are drawn from linear regressions on all other columns, and on their squares where BIC prefers that, with
    the residuals of a random row that has them, the same row for all columns with the same gaps; levels from logistic
    regressions, each against the most frequent level.

    Args:
        values: numbers and codes of levels, NaN where missing.
        kinds: kinds of the columns.
        columns: indices of the columns to fill; in each a cell is known.
        draws: number of tables.
        seed: seed of the draws.
    """
    rng, gaps = np.random.default_rng(seed), np.isnan(values)
    state = _Filling(kinds, _filled_at_random(rng, values), *_location_and_scale(values))
    groups = _groups(gaps)
    keep = gaps.copy()
    keep[:, list(columns)] = False
    found = []
    for turn in range(BURN_IN + draws):
        for missing, together in groups:
            state.draw(rng, missing, together)
        if turn >= BURN_IN:
            found.append(np.where(keep, np.nan, state.values))
    return found


@dataclass(frozen=True, eq=False)
class _Filling:
    """A table whose gaps hold the last draw."""

    kinds: Sequence[ColumnKind]
    values: Float[ndarray, "n d"]
    centre: Float[ndarray, "d"]
    scale: Float[ndarray, "d"]

    def draw(self, rng: np.random.Generator, missing: Bool[ndarray, "n"], together: list[int]) -> None:
        """Draws the cells of all columns that are missing in the same rows, given those of the others."""
        others = [k for k in range(len(self.kinds)) if k not in together]
        known = np.flatnonzero(~missing)
        known = known[:: -(-len(known) // MOST_ROWS)]
        numbers = [k for k in together if self.kinds[k] == "continuous"]
        if numbers:
            self._draw_numbers(rng, known, missing, numbers, others)
        given = [*others, *numbers]
        for k in (k for k in together if self.kinds[k] != "continuous"):
            self._draw_levels(rng, known, missing, k, given)
            given.append(k)

    def _draw_numbers(self, rng: np.random.Generator, known: ndarray, missing: ndarray, numbers: list, others: list):
        linear, squares = self._predictors(others)
        curved = np.concatenate([linear, squares], 1)
        donor = rng.integers(len(known), size=int(missing.sum()))
        for k in numbers:
            target = self.values[known, k]
            fits = [_Fit.of(predictors, known, target) for predictors in (linear, curved)]
            best = min(fits, key=lambda fit: fit.bic)
            self.values[missing, k] = best.predictors[missing] @ best.weights + best.residuals[donor]

    def _draw_levels(self, rng: np.random.Generator, known: ndarray, missing: ndarray, column: int, given: list[int]):
        predictors, codes = self._predictors(given)[0], self.values[known, column].astype(np.int64)
        levels, counts = np.unique(codes, return_counts=True)
        usual = levels[counts.argmax()]
        log_odds = np.zeros((int(missing.sum()), len(levels)))
        for place, level in enumerate(levels):
            if level != usual:
                two = np.isin(codes, (level, usual))
                weights = _logistic_weights(predictors[known[two]], codes[two] == level)
                log_odds[:, place] = predictors[missing] @ weights
        self.values[missing, column] = levels[(log_odds + rng.gumbel(size=log_odds.shape)).argmax(1)]

    def _predictors(self, columns: list[int]) -> tuple[Float[ndarray, "n p"], Float[ndarray, "n q"]]:
        """A constant with standardised numbers and indicators of levels, and the squares of what has an order."""
        linear, squares = [np.ones(len(self.values))], []
        for k in columns:
            if self.kinds[k] == "nominal":
                levels = range(1, int(self.values[:, k].max()) + 1)
                linear += [(self.values[:, k] == level).astype(np.float64) for level in levels]
                continue
            standard = np.clip((self.values[:, k] - self.centre[k]) / self.scale[k], -FARTHEST, FARTHEST)
            linear.append(standard)
            if self.kinds[k] != "binary":
                squares.append(standard**2)
        return np.stack(linear, 1), np.stack(squares, 1) if squares else np.zeros((len(self.values), 0))


@dataclass(frozen=True, eq=False)
class _Fit:
    """A least-squares fit."""

    predictors: Float[ndarray, "n p"]
    weights: Float[ndarray, "p"]
    residuals: Float[ndarray, "m"]
    bic: float

    @classmethod
    def of(cls, predictors: Float[ndarray, "n p"], known: ndarray, target: Float[ndarray, "m"]) -> "_Fit":
        x, (m, p) = predictors[known], (len(known), predictors.shape[1])
        gram = x.T @ x
        weights = np.linalg.solve(gram + RIDGE * np.diag(np.maximum(np.diagonal(gram), 1e-9)), x.T @ target)
        residuals = target - x @ weights
        return cls(predictors, weights, residuals, m * np.log(max(float(residuals.var()), 1e-300)) + p * np.log(m))


def _logistic_weights(x: Float[ndarray, "m p"], second: Bool[ndarray, "m"]) -> Float[ndarray, "p"]:
    """Weights of a logistic regression with a Gaussian prior of deviation `PRIOR_SD`, by Newton's method."""
    weights, ridge = np.zeros(x.shape[1]), np.eye(x.shape[1]) / PRIOR_SD**2
    for _ in range(NEWTON_STEPS):
        p = expit(x @ weights)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + ridge
        weights = weights + np.linalg.solve(curvature, x.T @ (second - p) - ridge @ weights)
    return weights


def _filled_at_random(rng: np.random.Generator, values: Float[ndarray, "n d"]) -> Float[ndarray, "n d"]:
    """Each gap with a random known cell of its column."""
    found = values.copy()
    for column in found.T:
        missing = np.isnan(column)
        if missing.any() and not missing.all():
            column[missing] = rng.choice(column[~missing], int(missing.sum()))
    return np.nan_to_num(found)


def _location_and_scale(values: Float[ndarray, "n d"]) -> tuple[Float[ndarray, "d"], Float[ndarray, "d"]]:
    known = [column[~np.isnan(column)] for column in values.T]
    spread = np.array([one.std() if one.size else 0.0 for one in known])
    return np.array([one.mean() if one.size else 0.0 for one in known]), np.where(spread > 0, spread, 1.0)


def _groups(gaps: Bool[ndarray, "n d"]) -> list[tuple[Bool[ndarray, "n"], list[int]]]:
    """Columns that lack the same rows, with these rows, fewest first; columns without a known cell are left out."""
    together: dict[bytes, list[int]] = {}
    for k in np.flatnonzero(gaps.any(0) & ~gaps.all(0)):
        together.setdefault(gaps[:, k].tobytes(), []).append(int(k))
    found = [(gaps[:, columns[0]], columns) for columns in together.values()]
    return sorted(found, key=lambda group: int(group[0].sum()))
