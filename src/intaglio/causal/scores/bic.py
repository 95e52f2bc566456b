"""Decomposable scores of DAGs: Gaussian BIC, and conditional-Gaussian BIC for tables with levels."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import log, prod

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

MIN_VARIANCE_SHARE = 1e-8
"""Least share of a variable's variance that is left by its parents."""

MIN_FAMILY_ROWS = 10
"""Complete rows below which a family is not scored, where other rows have missing cells."""


@dataclass(frozen=True, eq=False)
class LocalScore(ABC):
    """Score of a variable given its parents, in nats over all rows, larger is better; a DAG's score is the sum.

    Two DAGs of one Markov equivalence class have the same score, up to rounding. Results are cached.
    """

    known: dict[tuple[int, frozenset[int]], float] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, child: int, parents: Sequence[int] = ()) -> float:
        """The score of one variable given its parents, as indices of columns."""
        key = child, frozenset(parents)
        if key not in self.known:
            self.known[key] = self.family(child, sorted(key[1]))
        return self.known[key]

    @property
    @abstractmethod
    def columns(self) -> int:
        """Number of variables."""

    @abstractmethod
    def family(self, child: int, parents: list[int]) -> float:
        """Computes the score; the parents are sorted."""


@dataclass(frozen=True, eq=False)
class GaussianBIC(LocalScore):
    """Gaussian BIC: -(n/2) (1 + log σ̂²) - (p + 1)/2 log n, with σ̂² the residual variance given p parents.

    The constant (n/2) log 2π is left out. σ̂² comes from the covariance, so the cost does not depend on n.
    """

    covariance: Float[ndarray, "d d"]
    """Symmetric and positive semidefinite; each variable's own variance is above 0."""
    rows: float
    """Number of rows n, 2 or more."""

    def __post_init__(self):
        if not self.rows >= 2:
            raise ValueError(f"a score needs 2 rows or more, not {self.rows}")
        if not np.isfinite(self.covariance).all() or not (np.diagonal(self.covariance) > 0).all():
            raise ValueError("a covariance is finite and its variances are above 0; leave constant columns out")

    @classmethod
    def of(cls, values: Float[ndarray, "n d"]) -> "GaussianBIC":
        """The score of standardised columns, so that units do not matter.

        With missing values (NaN) each correlation comes from the rows that have both columns, with their own means and
        variances, and the matrix is shrunk towards the identity until it is positive definite. n is then the mean
        number of such rows over the pairs: one n for all families, since otherwise a variable with missing values would
        score worse as an effect than as a cause.
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
        """Number of variables."""
        return len(self.covariance)

    def family(self, child: int, parents: list[int]) -> float:
        """Computes the formula of the class."""
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
            # Collinear parents: all least-squares solutions leave the same variance.
            weights = np.linalg.lstsq(block[:-1, :-1], block[:-1, -1], rcond=1e-10)[0]
            return float(block[-1, -1] - block[:-1, -1] @ weights)


@dataclass(frozen=True, eq=False)
class ConditionalGaussianBIC(LocalScore):
    """Conditional-Gaussian BIC: categorical variables, and numbers that are Gaussian within each cell of levels.

    The likelihood of a set of variables is that of its cells of levels times, in each cell, that of a Gaussian of its
    numbers. The likelihood of a child given its parents is the ratio of the two sets' likelihoods, so levels may depend
    on numbers too; otherwise the kinds alone would direct every edge between a number and a level. With levels only
    this is the multinomial BIC, with numbers only the Gaussian one. Source: B. Andrews, J. Ramsey, G. Cooper, "Scoring
    Bayesian networks of mixed variables" (International Journal of Data Science and Analytics 6, 2018), section on CG.

    A cell's covariance is shrunk towards the pooled one with the weight of k + 1 rows, for k numbers in the set, since
    the likelihood of a cell with few rows is unbounded. The penalty counts all possible cells.

    With missing values (NaN), a family is scored on its complete rows: the gain per row of the parents over no parents,
    penalties included, times all rows; fewer than 10 such rows count as no gain. Otherwise a parent with missing values
    would cost the likelihood of every row that it lacks. Markov equivalent DAGs then have only about the same score.
    """

    values: Float[ndarray, "n d"]
    """Numbers, and codes from 0 of levels."""
    levels: tuple[int, ...]
    """Number of levels of each column; 0 for numbers."""
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
        """Number of variables."""
        return len(self.levels)

    def family(self, child: int, parents: list[int]) -> float:
        """Computes the formula of the class."""
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
        """Parameters of a child given its parents; a number's mean is not counted, as in the Gaussian score."""
        return self._parameters(family) - self._parameters(parents) - (not self.levels[family[0]])

    def _parameters(self, columns_of_set: list[int]) -> int:
        cells = prod(self.levels[k] for k in columns_of_set if self.levels[k])
        numbers = sum(not self.levels[k] for k in columns_of_set)
        return cells - 1 + cells * (numbers + numbers * (numbers + 1) // 2)

    def _likelihood(self, columns_of_set: list[int], rows: Bool[ndarray, "n"]) -> float:
        """Log-likelihood of a set of variables, without the constant log 2π."""
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
        """The cell of each row, as an index from 0 among the cells that occur, and the number of rows of each cell."""
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
        levels: number of levels of each column; 0 for numbers.
    """
    return ConditionalGaussianBIC(values, tuple(levels)) if any(levels) else GaussianBIC.of(values)


def _gaussian(x: Float[ndarray, "m k"], cell: Int[ndarray, "m"], counts: Int[ndarray, "q"]) -> float:
    """Log-likelihood of numbers given the cells of their rows, without the constant log 2π."""
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
    """Columns with mean 0 and variance 1 over their known values; a constant column becomes 0."""
    present = ~np.isnan(values)
    rows = np.maximum(1, present.sum(0))
    centred = values - np.where(present, values, 0.0).sum(0) / rows
    spread = np.sqrt((np.where(present, centred, 0.0) ** 2).sum(0) / rows)
    return centred / np.where(spread > 0, spread, 1.0)


def _pairwise(values: Float[ndarray, "n d"]) -> Float[ndarray, "d d"]:
    """Correlations over the rows that have both columns; 0 where there are none or one column is constant in them."""
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
    """The matrix shrunk towards the identity until its smallest eigenvalue is 1e-4."""
    least = float(np.linalg.eigvalsh(correlation)[0])
    share = max(0.0, (1e-4 - least) / (1 - least)) if least < 1 else 0.0
    return (1 - share) * correlation + share * np.eye(len(correlation))
