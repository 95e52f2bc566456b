"""A common factor of many columns: dependences of one shape that no column of the table accounts for.

A cause of many columns that the table lacks (a batch, a scale, the depth of a count, a volatility) makes all pairs of
them dependent, with correlations that are products of one loading a column, and no column separates the pairs. Graphs
without hidden causes that have such correlations are rare: see the rates in the tests.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.special import ndtri

from intaglio.causal.tables.column import ColumnKind
from intaglio.causal.tables.normal_scores import normal_scores

MIN_LOADING_Z = 3.5
"""Least loading over its standard error of a column that takes part."""
MAX_LOADING = 0.85
"""Largest median loading; above, the factor is as good as one of the columns."""
LARGE_RESIDUAL_Z = 3.0
"""Residual over its standard error from which a pair does not fit, as one with an edge of its own does not."""
DEPENDENT_Z = 1.5
"""Correlation over its standard error from which no column has separated a pair."""
MAX_CELLS = 500_000
"""Rows times columns that are tested, evenly spaced rows."""
MIN_ROWS = 50
"""Rows below which nothing is tested."""
KNOTS, ROWS_PER_KNOT = 15, 20
"""Most knots of the splines by which a column may separate others, and least rows for each."""
FIT_STEPS, HUBER_Z = 60, 2.0
"""Steps of the robust fit of the loadings, and the residual over its standard error from which weights fall."""


@dataclass(frozen=True)
class Evidence:
    """Bounds that together make a common factor."""

    columns: int
    """Least columns that take part."""
    coverage: float
    """Least share of all columns that take part."""
    fitting: float
    """Least share of pairs that fit."""
    misfit: float
    """Largest mean squared residual over its variance, each at most `LARGE_RESIDUAL_Z` squared."""
    inseparable: float
    """Least share of pairs that no column separates, whichever column is left out."""
    one_sign: bool = False
    """Whether all loadings must have one sign, as those of a scale have."""


EVIDENCE = (
    Evidence(5, 0.5, 0.95, 1.1, 0.75),
    Evidence(5, 1.0, 0.9, 1.7, 0.6, one_sign=True),
    Evidence(6, 0.5, 0.9, 1.5, 0.45),
    Evidence(7, 0.5, 0.95, 1.1, 0.35),
    Evidence(8, 0.5, 0.7, 3.5, 0.6),
    Evidence(8, 0.8, 0.4, 6.5, 0.45, one_sign=True),
)
"""Each alone is enough: the more columns, the more edges of their own they may have beside the factor."""


@dataclass(frozen=True)
class CommonFactor:
    """A factor that many columns share."""

    columns: tuple[int, ...]
    """Indices of the columns that take part."""
    of: Literal["values", "spread"]
    """Whether values rise and fall together, or their distances from the middle do."""
    loading: float
    """Median absolute correlation of these columns with the factor."""
    one_sign: bool
    """Whether all loadings have one sign."""


def common_factor(values: Float[ndarray, "n d"], kinds: tuple[ColumnKind, ...]) -> CommonFactor | None:
    """The common factor of a table's columns, of their values or else of their spread; None where there is none.

    Args:
        values: numbers and codes of levels, NaN where missing.
        kinds: kinds of the columns.
    """
    n, d = values.shape
    values = values[:: -(-n * d // MAX_CELLS)]
    if len(values) < MIN_ROWS or d < min(rule.columns for rule in EVIDENCE):
        return None
    scores = [_score(values[:, k], kind) for k, kind in enumerate(kinds)]
    numbers = [kind == "continuous" for kind in kinds]
    spreads = [np.abs(score) if number else score * np.nan for score, number in zip(scores, numbers, strict=True)]
    found = _factor(scores, "values", values, kinds)
    return found or _factor(spreads, "spread", values, kinds)


def _factor(
    features: list[Float[ndarray, "n"]],
    of: Literal["values", "spread"],
    values: Float[ndarray, "n d"],
    kinds: tuple[ColumnKind, ...],
) -> CommonFactor | None:
    scores, known = _standardised(np.stack(features, 1))
    used = np.flatnonzero(scores.any(0))
    scores, counts = scores[:, used], np.maximum(known[:, used].T.astype(np.float64) @ known[:, used], 1)
    if not used.size:
        return None
    correlation = np.clip(scores.T @ scores / counts, -0.9999, 0.9999)
    loading = robust_loadings(correlation, counts)
    strength = counts @ loading**2 - np.diag(counts) * loading**2
    within = np.flatnonzero(np.abs(loading) * np.sqrt(np.maximum(strength, 0)) > MIN_LOADING_Z)
    share = len(within) / len(kinds)
    rules = [rule for rule in EVIDENCE if len(within) >= rule.columns and share >= rule.coverage]
    inner = loading[within]
    same = bool((inner > 0).all() or (inner < 0).all())
    alike = same and of == "values"  # distances from the middle rise together in any dependence
    if not rules or np.median(np.abs(inner)) > MAX_LOADING:
        return None
    pairs = np.ix_(within, within)
    upper, root = np.triu_indices(len(within), 1), np.sqrt(counts[pairs])
    residual = np.abs((correlation[pairs] - np.outer(inner, inner)) * root)[upper]
    fitting = (residual < LARGE_RESIDUAL_Z).mean()
    misfit = (np.minimum(residual, LARGE_RESIDUAL_Z) ** 2).mean()
    rules = [r for r in rules if fitting >= r.fitting and misfit <= r.misfit and (alike or not r.one_sign)]
    if not rules:
        return None
    left = _least_partial(scores[:, within], used[within], np.abs(correlation[pairs]), values, kinds)
    inseparable = _share_without_any_one(left * root > DEPENDENT_Z)
    if not any(inseparable >= rule.inseparable for rule in rules):
        return None
    return CommonFactor(tuple(used[within].tolist()), of, float(np.median(np.abs(inner))), same)


def _share_without_any_one(dependent: Bool[ndarray, "s s"]) -> float:
    """Least share of dependent pairs after leaving out one column, since a cause in the table may have many effects."""
    pairs = np.triu(dependent, 1).astype(int)
    left = pairs.sum() - pairs.sum(0) - pairs.sum(1)
    return float(left.min()) / max(1, (len(pairs) - 1) * (len(pairs) - 2) // 2)


def robust_loadings(correlation: Float[ndarray, "d d"], counts: Float[ndarray, "d d"]) -> Float[ndarray, "d"]:
    """Loadings λ with λ_i λ_j near the correlations of most pairs, in [-1, 1]; edges of single pairs weigh little.

    Weighted least squares in turns, with Huber's weights on residuals over their standard errors.
    """
    off, error = ~np.eye(len(correlation), dtype=bool), 1 / np.sqrt(counts)
    if not off.any():
        return np.zeros(len(correlation))
    most = 2 * np.median(np.abs(correlation[off]))
    clipped = np.where(off, np.clip(correlation, -most, most), most)
    sizes, vectors = np.linalg.eigh(clipped)
    loading = vectors[:, -1] * np.sqrt(max(sizes[-1], 1e-9))
    for _ in range(FIT_STEPS):
        residual = np.abs(correlation - np.outer(loading, loading)) / error
        weight = np.minimum(1, HUBER_Z / np.maximum(residual, 1e-9)) * off
        better = (weight * correlation) @ loading / np.maximum(weight @ loading**2, 1e-12)
        loading = np.clip((loading + better) / 2, -0.999, 0.999)
    return loading


def _least_partial(
    scores: Float[ndarray, "n s"],
    columns: Int[ndarray, "s"],
    least: Float[ndarray, "s s"],
    values: Float[ndarray, "n d"],
    kinds: tuple[ColumnKind, ...],
) -> Float[ndarray, "s s"]:
    """Least absolute correlation of each pair, alone or given smooth functions of one other column."""
    for k, kind in enumerate(kinds):
        basis = _smooth(values[:, k], kind)
        rest = scores - basis @ (basis.T @ scores)
        size = np.sqrt((rest**2).sum(0))
        partial = np.abs(rest.T @ rest) / np.maximum(np.outer(size, size), 1e-12)
        own = columns == k
        partial[own], partial[:, own] = np.inf, np.inf
        least = np.minimum(least, partial)
    return least


def _score(column: Float[ndarray, "n"], kind: ColumnKind) -> Float[ndarray, "n"]:
    """Normal scores; of a nominal column whether it has its most frequent level; NaN where missing."""
    if kind == "nominal":
        return np.where(np.isnan(column), np.nan, column == 0)
    return normal_scores(column)


def _smooth(column: Float[ndarray, "n"], kind: ColumnKind) -> Float[ndarray, "n p"]:
    """An orthonormal basis of functions of a column: cubic and broken lines in its normal score, or its levels."""
    if kind in ("continuous", "ordinal"):
        score = _score(column, kind)
        knots = ndtri(np.linspace(0, 1, min(KNOTS, len(column) // ROWS_PER_KNOT) + 2)[1:-1])
        lines = np.maximum(score[:, None] - knots, 0.0)
        features = np.concatenate([np.stack([score, score**2, score**3], 1), lines], 1)
    else:
        features = (column[:, None] == np.arange(int(np.nanmax(column)) + 1)).astype(np.float64)
    features[np.isnan(column)] = np.nan
    centred, _ = _standardised(features)
    vectors, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return vectors[:, sizes > 1e-6 * max(sizes.max(initial=0.0), 1e-9)]


def _standardised(features: Float[ndarray, "n p"]) -> tuple[Float[ndarray, "n p"], Bool[ndarray, "n p"]]:
    """Columns of mean 0 and variance 1 over known cells, 0 where missing or constant; and which cells are known."""
    known = ~np.isnan(features)
    filled, count = np.where(known, features, 0.0), np.maximum(known.sum(0), 1)
    centred = np.where(known, filled - filled.sum(0) / count, 0.0)
    spread = np.sqrt((centred**2).sum(0) / count)
    return np.where(spread > 1e-9, centred / np.where(spread > 1e-9, spread, 1.0), 0.0), known
