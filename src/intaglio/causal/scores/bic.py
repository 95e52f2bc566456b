"""Local scores of a variable given its parents: Gaussian BIC, and conditional-Gaussian BIC where there are levels."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import log, prod

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

MIN_VARIANCE_SHARE = 1e-8
"""Share of its variance that a number keeps at least, however well its parents explain it."""

MIN_FAMILY_ROWS = 10
"""Fewer rows that have all of a family say nothing of it, where others are missing."""


@dataclass(frozen=True, eq=False)
class LocalScore(ABC):
    """Natural-log units over all rows, more is better; a graph's score is the sum over its variables.

    Two DAGs of one Markov class have the same sum, up to rounding. What was asked once is remembered.
    """

    known: dict[tuple[int, frozenset[int]], float] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, child: int, parents: Sequence[int] = ()) -> float:
        """The score of one variable given others, by column."""
        key = child, frozenset(parents)
        if key not in self.known:
            self.known[key] = self.family(child, sorted(key[1]))
        return self.known[key]

    @property
    @abstractmethod
    def columns(self) -> int:
        """How many variables there are."""

    @abstractmethod
    def family(self, child: int, parents: list[int]) -> float:
        """The same, worked out; the parents are sorted."""


@dataclass(frozen=True, eq=False)
class GaussianBIC(LocalScore):
    """-(n/2) (1 + log σ̂²) - (p + 1)/2 log n, with σ̂² what p parents leave of the child's variance by least squares.

    The constant (n/2) log 2π is left out of every variable's score. σ̂² comes from the covariance, so a score costs the
    same for whatever number of rows.
    """

    covariance: Float[ndarray, "d d"]
    """Symmetric and positive semidefinite; each variable's own variance is above 0."""
    rows: float
    """n, 2 or more."""

    def __post_init__(self):
        if not self.rows >= 2:
            raise ValueError(f"a score needs 2 rows or more, not {self.rows}")
        if not np.isfinite(self.covariance).all() or not (np.diagonal(self.covariance) > 0).all():
            raise ValueError("a covariance is finite and its variances are above 0; leave constant columns out")

    @classmethod
    def of(cls, values: Float[ndarray, "n d"]) -> "GaussianBIC":
        """Of standardised columns, so that no column's unit matters.

        Where values are missing (NaN) each correlation comes from the rows that have both, with their own means and
        variances; were the matrix not positive definite, it is drawn towards the identity until it is. n is then the
        mean number of such rows over the pairs: one n for all families, for else a variable with gaps would look
        like a worse effect than cause.
        """
        present = ~np.isnan(values)
        if present.all():
            x = _standardised(values)
            return cls(x.T @ x / len(x), float(len(x)))
        counts = present.T.astype(np.float64) @ present
        pairs = counts[np.triu_indices(len(counts), 1)] if len(counts) > 1 else counts.ravel()
        return cls(_made_definite(_pairwise(values)), max(2.0, float(pairs.mean())))

    @property
    def columns(self) -> int:
        """How many variables there are."""
        return len(self.covariance)

    def family(self, child: int, parents: list[int]) -> float:
        """The formula of the class."""
        variance = max(self._residual(child, parents), MIN_VARIANCE_SHARE * self.covariance[child, child])
        return -self.rows / 2 * (1 + log(variance)) - (len(parents) + 1) / 2 * log(self.rows)

    def _residual(self, child: int, parents: list[int]) -> float:
        if not parents:
            return float(self.covariance[child, child])
        columns_of_set = [*parents, child]
        block = self.covariance[np.ix_(columns_of_set, columns_of_set)]
        try:
            return float(np.linalg.cholesky(block)[-1, -1] ** 2)
        except np.linalg.LinAlgError:
            # Parents that determine one another: any of their solutions leaves the same variance.
            weights = np.linalg.lstsq(block[:-1, :-1], block[:-1, -1], rcond=1e-10)[0]
            return float(block[-1, -1] - block[:-1, -1] @ weights)


@dataclass(frozen=True, eq=False)
class ConditionalGaussianBIC(LocalScore):
    """BIC of levels, and of numbers that are Gaussian within each cell of levels.

    Any set of variables has a likelihood: its cells of levels with their shares, and in each cell a Gaussian of its
    numbers. A family's is that of child and parents less that of the parents, so levels may depend on numbers too: were
    they forbidden to, their kinds alone would direct every edge of a number and a level. With levels only this is the
    multinomial BIC, with numbers only the Gaussian one. Source: B. Andrews, J. Ramsey, G. Cooper, "Scoring Bayesian
    networks of mixed variables" (International Journal of Data Science and Analytics 6, 2018), section on CG.

    A cell's covariance is drawn towards the mean one of all cells as by k + 1 more rows, k the numbers of the set, for
    else a cell of few rows has any likelihood. All the cells that there could be count in the penalty.

    Where values are missing (NaN), a family is scored on the rows that have all of it: what the parents gain a row over
    none, on these same rows and with their penalty, times all rows; fewer than 10 such rows say nothing. Else a parent
    with gaps would cost the likelihood of every row that it lacks. Markov equivalent DAGs then only have about the same
    sum.
    """

    values: Float[ndarray, "n d"]
    """Numbers, and codes from 0 of levels."""
    levels: tuple[int, ...]
    """How many levels a column has; 0 for numbers."""
    likelihoods: dict[tuple[int, ...], float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self):
        if len(self.levels) != self.values.shape[1]:
            raise ValueError(f"{self.values.shape[1]} columns have {len(self.levels)} numbers of levels; give each one")
        if len(self.values) < 2:
            raise ValueError(f"a score needs 2 rows or more, not {len(self.values)}")
        for k in np.flatnonzero(self.levels):
            codes = self.values[~np.isnan(self.values[:, k]), k]
            if len(codes) and not (codes.min() >= 0 and codes.max() < self.levels[k] and (codes % 1 == 0).all()):
                raise ValueError(f"column {k} has {self.levels[k]} levels, so its codes are 0 to {self.levels[k] - 1}")
        values, numbers = self.values.astype(np.float64), np.array(self.levels) == 0
        values[:, numbers] = _standardised(values[:, numbers])
        object.__setattr__(self, "values", values)

    @property
    def columns(self) -> int:
        """How many variables there are."""
        return len(self.levels)

    def family(self, child: int, parents: list[int]) -> float:
        """The formula of the class."""
        n, own = len(self.values), self._present([child])
        alone = self._bic([child], [], own) * n / max(1, own.sum())
        rows = self._present([child, *parents])
        m = int(rows.sum())
        if m < min(n, MIN_FAMILY_ROWS):
            return alone - (
                self._parameter_count([child, *parents], parents) - self._parameter_count([child], [])
            ) / 2 * log(n)
        return alone + (self._bic([child, *parents], parents, rows) - self._bic([child], [], rows)) * n / m

    def _present(self, columns_of_set: list[int]) -> Bool[ndarray, "n"]:
        return ~np.any(self._gaps[:, columns_of_set], axis=1)

    @cached_property
    def _gaps(self) -> Bool[ndarray, "n d"]:
        return np.isnan(self.values)

    def _bic(self, family: list[int], parents: list[int], rows: Bool[ndarray, "n"]) -> float:
        likelihood = self._likelihood(family, rows) - self._likelihood(parents, rows)
        return likelihood - self._parameter_count(family, parents) / 2 * log(max(2, rows.sum()))

    def _parameter_count(self, family: list[int], parents: list[int]) -> int:
        """Parameters of a family; a number's mean is not counted, as in the Gaussian score."""
        return self._parameters(family) - self._parameters(parents) - (not self.levels[family[0]])

    def _parameters(self, columns_of_set: list[int]) -> int:
        cells = prod(self.levels[k] for k in columns_of_set if self.levels[k])
        numbers = sum(not self.levels[k] for k in columns_of_set)
        return cells - 1 + cells * (numbers + numbers * (numbers + 1) // 2)

    def _likelihood(self, columns_of_set: list[int], rows: Bool[ndarray, "n"]) -> float:
        """Of a set of variables, without the constant log 2π."""
        key = tuple(sorted(columns_of_set))
        if not rows.all():
            return self._compute_likelihood(key, rows)
        if key not in self.likelihoods:
            self.likelihoods[key] = self._compute_likelihood(key, rows)
        return self.likelihoods[key]

    def _compute_likelihood(self, columns_of_set: tuple[int, ...], rows: Bool[ndarray, "n"]) -> float:
        m, numbers = int(rows.sum()), [k for k in columns_of_set if not self.levels[k]]
        cell, counts = self._cells([k for k in columns_of_set if self.levels[k]], rows)
        likelihood = float((counts * np.log(counts / max(1, m))).sum())
        if numbers and m:
            likelihood += _gaussian(self.values[rows][:, numbers], cell, counts)
        return likelihood

    def _cells(
        self, columns_of_set: list[int], rows: Bool[ndarray, "n"]
    ) -> tuple[Int[ndarray, "m"], Int[ndarray, "q"]]:
        """The cell of each row, counted from 0 among those that are there, and their rows."""
        cell, size = np.zeros(int(rows.sum()), np.int64), 1
        for k in columns_of_set:
            cell, size = cell * self.levels[k] + self.values[rows, k].astype(np.int64), size * self.levels[k]
            if size > 2 * len(cell) + 1000:
                there, cell = np.unique(cell, return_inverse=True)
                size = len(there)
        counts = np.bincount(cell, minlength=size)
        return (np.cumsum(counts > 0) - 1)[cell], counts[counts > 0]


def score_of(values: Float[ndarray, "n d"], levels: Sequence[int]) -> LocalScore:
    """The score that fits a table: `GaussianBIC` for numbers alone, else `ConditionalGaussianBIC`.

    Args:
        values: numbers, and codes from 0 of levels; NaN where missing.
        levels: how many levels each column has; 0 for numbers.
    """
    return ConditionalGaussianBIC(values, tuple(levels)) if any(levels) else GaussianBIC.of(values)


def _gaussian(x: Float[ndarray, "m k"], cell: Int[ndarray, "m"], counts: Int[ndarray, "q"]) -> float:
    """Log-likelihood of numbers given their cells, without the constant log 2π."""
    (m, k), starts = x.shape, np.cumsum(counts)[:-1]
    blocks = np.split(x[np.argsort(cell, kind="stable")], starts)
    spread = np.stack([_scatter(block) for block in blocks])
    max_over_rows = spread.sum(0) / m + MIN_VARIANCE_SHARE * np.eye(k)
    weight = counts[:, None, None]
    drawn = (spread + (k + 1) * max_over_rows) / (weight + k + 1)
    traces = np.trace(np.linalg.solve(drawn, spread), axis1=-2, axis2=-1)
    return float(-0.5 * (counts * np.linalg.slogdet(drawn)[1] + traces).sum())


def _scatter(block: Float[ndarray, "m k"]) -> Float[ndarray, "k k"]:
    centred = block - block.mean(0)
    return centred.T @ centred


def _standardised(values: Float[ndarray, "n d"]) -> Float[ndarray, "n d"]:
    """Mean 0 and variance 1 over the rows that have a value; a constant column becomes 0."""
    present = ~np.isnan(values)
    rows = np.maximum(1, present.sum(0))
    centred = values - np.where(present, values, 0.0).sum(0) / rows
    spread = np.sqrt((np.where(present, centred, 0.0) ** 2).sum(0) / rows)
    return centred / np.where(spread > 0, spread, 1.0)


def _pairwise(values: Float[ndarray, "n d"]) -> Float[ndarray, "d d"]:
    """Correlations, each over the rows that have both; 0 where there are none, or one of the two is constant there."""
    present = (~np.isnan(values)).astype(np.float64)
    x = np.where(present > 0, _standardised(values), 0.0)
    rows = np.maximum(1.0, present.T @ present)
    # [i, j]: of i, over the rows that have j too.
    mean = x.T @ present / rows
    variance = (x**2).T @ present / rows - mean**2
    scale = np.sqrt(np.maximum(0.0, variance * variance.T))
    found = np.divide(x.T @ x / rows - mean * mean.T, scale, out=np.zeros_like(scale), where=scale > MIN_VARIANCE_SHARE)
    return np.clip(found, -1.0, 1.0)


def _made_definite(correlation: Float[ndarray, "d d"]) -> Float[ndarray, "d d"]:
    """Drawn towards the identity until the smallest eigenvalue is 1e-4."""
    least = float(np.linalg.eigvalsh(correlation)[0])
    share = max(0.0, (1e-4 - least) / (1 - least)) if least < 1 else 0.0
    return (1 - share) * correlation + share * np.eye(len(correlation))
