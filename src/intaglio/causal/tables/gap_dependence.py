"""Dependence of missing cells on other columns: whether a column is known, against the values of each other one."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy import stats

from intaglio.causal.tables.column import ColumnKind
from intaglio.causal.tables.normal_scores import normal_scores

ALPHA = 1e-3
"""Probability that a table with cells missing completely at random has a pair that counts as dependent."""
MIN_SHARE = 0.005
"""Least share (R²) of the variance of being missing that another column explains; below, it does no harm."""
MIN_CELLS = 10
"""Least cells, missing and known ones each, of a column that is tested."""
MIN_EXPECTED = 2.0
"""Least expected number of missing cells in a level; rarer levels are not tested."""
MAX_TESTED_ROWS = 20_000
"""Rows, evenly spaced, that are tested."""


@dataclass(frozen=True)
class GapDependence:
    """Columns that are missing in the same rows, and another column that it depends on which rows these are."""

    missing: tuple[int, ...]
    """Indices of the columns that lack the same cells."""
    on: int
    """Index of the other column."""
    share: float
    """R² of being missing on functions of the other column."""
    higher: bool | None
    """Whether cells are missing where the other column is high, or low; None where neither says it, or for levels."""


def gap_dependences(values: Float[ndarray, "n d"], kinds: tuple[ColumnKind, ...]) -> list[GapDependence]:
    """For each pattern of gaps the column that it depends on most, strongest first; none where gaps are at random.

    Being missing is regressed on the normal score and its square, or on indicators of levels; n·R² is χ² distributed
    without dependence. Bonferroni's correction is over all patterns and columns.

    Args:
        values: numbers and codes of levels, NaN where missing.
        kinds: kinds of the columns.
    """
    values = values[:: -(-len(values) // MAX_TESTED_ROWS)] if len(values) else values
    patterns = _patterns(values)
    features = {k: _features(values[:, k], kind) for k, kind in enumerate(kinds)} if patterns else {}
    pairs = [(gaps, columns, k) for gaps, columns in patterns for k in features if k not in columns]
    strongest: dict[tuple[int, ...], GapDependence] = {}
    for gaps, columns, k in pairs:
        known = ~np.isnan(values[:, k])
        share, freedom, slope = _explained(gaps[known], features[k][known])
        if share < MIN_SHARE or stats.chi2.sf(known.sum() * share, freedom) * len(pairs) >= ALPHA:
            continue
        if columns not in strongest or share > strongest[columns].share:
            ordered = kinds[k] in ("continuous", "ordinal") and slope**2 > share / 10
            strongest[columns] = GapDependence(columns, k, share, slope > 0 if ordered else None)
    return sorted(strongest.values(), key=lambda found: -found.share)


def _patterns(values: Float[ndarray, "n d"]) -> list[tuple[Bool[ndarray, "n"], tuple[int, ...]]]:
    """Each set of rows that some columns lack, with these columns."""
    missing = np.isnan(values)
    columns: dict[bytes, list[int]] = {}
    for k in np.flatnonzero(np.minimum(missing.sum(0), (~missing).sum(0)) >= MIN_CELLS):
        columns.setdefault(missing[:, k].tobytes(), []).append(int(k))
    return [(missing[:, found[0]], tuple(found)) for found in columns.values()]


def _features(column: Float[ndarray, "n"], kind: ColumnKind) -> Float[ndarray, "n f"]:
    """The normal score and its square, or indicators of levels; rows without a value are not read."""
    if kind in ("continuous", "ordinal"):
        score = normal_scores(column)
        return np.stack([score, score**2], 1)
    return (column[:, None] == np.arange(int(np.nanmax(column)) + 1)).astype(np.float64)


def _explained(gaps: Bool[ndarray, "k"], features: Float[ndarray, "k f"]) -> tuple[float, int, float]:
    """R² of being missing on the features, their number, and the correlation with the first; 0 where too few."""
    rate = gaps.mean() if gaps.size else 0.0
    if min(gaps.sum(), (~gaps).sum()) < MIN_CELLS:
        return 0.0, 1, 0.0
    levels = bool(np.isin(features, (0.0, 1.0)).all())
    if levels:
        features = features[:, features.sum(0) * min(rate, 1 - rate) >= MIN_EXPECTED]
    centred = features - features.mean(0)
    vectors, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    basis = vectors[:, sizes > 1e-9 * max(1.0, sizes.max(initial=0.0))]
    if not basis.shape[1]:
        return 0.0, 1, 0.0
    target = (gaps - rate) / np.linalg.norm(gaps - rate)
    first = centred[:, 0] / max(np.linalg.norm(centred[:, 0]), 1e-300)
    return float(((basis.T @ target) ** 2).sum()), basis.shape[1], float(first @ target)
