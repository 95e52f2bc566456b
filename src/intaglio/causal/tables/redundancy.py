"""Redundant columns: copies of another column, and columns that are all but determined by the others."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float64, Int
from numpy import ndarray

from intaglio.causal.tables.column import Column

COPY_TOLERANCE = 1e-8
"""1 − |ρ| below which two columns of numbers are copies, up to scale and shift."""
DETERMINED_SHARE = 0.999
"""R² (of levels: λ) above which a column counts as determined by others."""
MIN_COMMON_ROWS = 10
"""Rows in which both columns must be known for a correlation to count."""
MAX_LEVEL_ROWS = 5000
"""Rows, evenly spaced, in which pairs of columns with levels are compared."""
TRIMMED_SHARE = 0.01
"""Share of outermost rows without which copies must still be copies."""


def copy_groups(columns: list[Column]) -> list[list[int]]:
    """Groups of columns that are copies of one another, up to scale and shift or up to the names of levels.

    A group lists indices in rising order, groups are ordered by their first. The cost is one product of the table with
    itself.
    """
    same = np.zeros((len(columns), len(columns)), bool)
    scaled = [k for k, column in enumerate(columns) if column.kind in ("continuous", "ordinal")]
    if len(scaled) > 1:
        same[np.ix_(scaled, scaled)] = _affine(np.stack([columns[k].values for k in scaled], 1))
    seen: dict[bytes, int] = {}
    for k, column in enumerate(columns):
        if column.kind != "continuous":
            first = seen.setdefault(_pattern(column), k)
            same[first, k] |= first != k
    return _groups(same | same.T)


def determined_columns(columns: list[Column]) -> list[int]:
    """Indices of columns that are determined by others: numbers by all other numbers, levels by one column of levels.

    Numbers by R² above `DETERMINED_SHARE`, adjusted for the number of predictors; levels by the share of errors that
    knowing the other column removes (Goodman and Kruskal's λ), where there are enough rows.
    """
    numbers = [k for k, column in enumerate(columns) if column.kind in ("continuous", "ordinal", "binary")]
    levels = [k for k, column in enumerate(columns) if column.kind in ("binary", "nominal")]
    found: set[int] = set()
    if len(numbers) > 1:
        by_others = _r2(np.stack([columns[k].values for k in numbers], 1)) > DETERMINED_SHARE
        found |= {numbers[k] for k in np.flatnonzero(by_others)}
    step = max(1, len(columns[0].values) // MAX_LEVEL_ROWS) if columns else 1
    coded = {k: np.nan_to_num(columns[k].values[::step], nan=-1).astype(np.int64) for k in levels}
    for target in levels:
        if any(_guessed(coded[target], coded[other]) for other in levels if other != target):
            found.add(target)
    return sorted(found)


def _pattern(column: Column) -> bytes:
    """Bytes that are equal for equal partitions of the rows, whatever the codes."""
    missing = np.isnan(column.values)
    codes, _ = pd.factorize(np.where(missing, -1.0, column.values))  # in the order of their first rows
    return np.append(codes, codes[missing][:1]).tobytes()


def _groups(same: Bool[ndarray, "d d"]) -> list[list[int]]:
    groups: list[list[int]] = []
    left = set(np.flatnonzero(same.any(0)).tolist())
    while left:
        group, frontier = set(), [min(left)]
        while frontier:
            if (k := frontier.pop()) in left:
                left.remove(k)
                group.add(k)
                frontier += np.flatnonzero(same[k]).tolist()
        groups.append(sorted(group))
    return groups


def _affine(values: Float64[ndarray, "n d"]) -> Bool[ndarray, "d d"]:
    scores, known = _standardised(values)
    same = 1 - np.abs(_correlation(scores, known)) < COPY_TOLERANCE
    np.fill_diagonal(same, False)
    for i, j in np.argwhere(np.triu(same)):
        # One outlying row makes any two columns correlate, so they must be copies without such rows too.
        same[i, j] = same[j, i] = _without_tails(values[:, i], values[:, j])
    return same


def _without_tails(x: Float64[ndarray, "n"], y: Float64[ndarray, "n"]) -> bool:
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = _centred(x[both]), _centred(y[both])
    out = np.maximum(np.abs(x - np.median(x)), np.abs(y - np.median(y)))
    inner = out <= np.quantile(out, 1 - TRIMMED_SHARE)
    x, y = x[inner], y[inner]
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return bool(np.ptp(x) == np.ptp(y))
    x, y = _centred(x), _centred(y)
    return bool(1 - abs(x @ y) / np.sqrt((x @ x) * (y @ y)) < COPY_TOLERANCE)


def _centred(values: Float64[ndarray, "k"]) -> Float64[ndarray, "k"]:
    """Shifted to mean 0 and scaled into [-1, 1]."""
    values = values / max(np.abs(values).max(), np.finfo(np.float64).tiny)
    values = values - values.mean()
    return values / max(np.abs(values).max(), np.finfo(np.float64).tiny)


def _standardised(values: Float64[ndarray, "n d"]) -> tuple[Float64[ndarray, "n d"], Bool[ndarray, "n d"] | None]:
    """z-scores with 0 for missing cells, and a mask of known cells; None where no cell is missing."""
    missing = np.isnan(values)
    known = ~missing if missing.any() else None
    # Division by the largest value first keeps squares from overflowing.
    peak = np.nanmax(np.abs(values), 0)
    scores = values / np.where(peak > 0, peak, 1.0)
    scores -= np.nanmean(scores, 0)
    scores /= np.sqrt(np.nanmean(scores**2, 0))
    if known is not None:
        scores[missing] = 0.0
    return scores, known


def _correlation(scores: Float64[ndarray, "n d"], known: Bool[ndarray, "n d"] | None) -> Float64[ndarray, "d d"]:
    """Correlation of each pair over the rows that have both; 0 where these are too few or one is constant in them."""
    if known is None:
        return scores.T @ scores / len(scores)
    mask = known.astype(np.float64)
    count = np.maximum(mask.T @ mask, 1)
    mean = scores.T @ mask / count  # [i, j]: of i where j is known
    variance = (scores**2).T @ mask / count - mean**2
    product = scores.T @ scores / count - mean * mean.T
    usable = (count >= MIN_COMMON_ROWS) & (np.minimum(variance, variance.T) > 1e-12)
    return np.where(usable, product / np.sqrt(np.where(usable, variance * variance.T, 1.0)), 0.0)


def _r2(values: Float64[ndarray, "n d"]) -> Float[ndarray, "d"]:
    """Adjusted R² of each column on all others, from complete rows where these are enough."""
    d = values.shape[1]
    complete = ~np.isnan(values).any(1)
    if MIN_COMMON_ROWS + 2 * d <= complete.sum() and (values[complete].max(0) > values[complete].min(0)).all():
        values = values[complete]
    if len(values) <= d + 1:
        return np.zeros(d)
    scores, _ = _standardised(values)
    weight, vectors = np.linalg.eigh(scores.T @ scores / len(scores))
    tolerance = (vectors**2 / np.maximum(weight, 1e-12)).sum(1)
    tolerance *= np.diag(scores.T @ scores) / len(scores)  # missing cells are 0 and take from the variance
    return 1 - (len(values) - 1) / (len(values) - d) / np.maximum(tolerance, 1.0)


def _guessed(target: Int[ndarray, "n"], other: Int[ndarray, "n"]) -> bool:
    """Whether one column of codes predicts another by λ above `DETERMINED_SHARE`, from at least 5 rows a cell."""
    both = (target >= 0) & (other >= 0)
    target, other = target[both], other[both]
    if not len(target):
        return False
    wide, high = int(target.max()) + 1, int(other.max()) + 1
    if len(target) < 5 * wide * high:
        return False
    counts = np.bincount(other * wide + target, minlength=wide * high).reshape(high, wide)
    blind = len(target) - counts.sum(0).max()
    return bool(blind >= 5 and 1 - (len(target) - counts.max(1).sum()) / blind > DETERMINED_SHARE)
