"""Dependence of rows on those before them: serial correlations of the columns in the order of the table.

Under independent rows of one law every order of the rows is as likely, which gives the moments of each statistic. A
table that was sorted by some of its own columns is tested within stretches of rows that these leave alike.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import stats

from intaglio.causal.tables.column import ColumnKind
from intaglio.causal.tables.normal_scores import mean_ranks

ALPHA = 1e-3
"""Probability that a table of independent rows has a column that counts as serially correlated."""
LAGS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 24)
"""Distances between rows that are tested; short ones, and those of hours and months."""
DRIFT_ROWS = 25
"""Rows of a block, whose means are compared to find a slow drift or groups that no column names."""
MAX_TESTED_ROWS = 20_000
"""First rows of the table that are tested."""
MIN_TESTED_ROWS = 40
"""Rows below which the normal approximation does not hold at such small probabilities."""
MIN_HARM = 1.1
"""Rows over rows that count, in pairs of columns, below which a dependence does no harm."""
MAX_KEYS = 3
"""Columns that a table can be sorted by, one within the other."""
UNIT_ROOT = 14.0
"""Rows times 1 - lag-1 correlation below which a column may be a random walk (5% of the test of D. Dickey, W. Fuller,
1979, with a mean): correlations of two such columns do not fall with the rows (P. Phillips, 1986)."""
ROWS_OF_WALKS = 3.0
"""Rows that count for the correlation of two random walks."""
STRETCH_ROWS = 16
"""Least rows of a stretch in which a sorted column counts as constant but for a line."""
NOMINAL_FEATURES = 3
"""Most frequent levels of a nominal column whose indicators are tested."""
MIN_SPREAD = 10.0
"""Rows over squared kurtosis below which a column is all but constant and is not tested."""


@dataclass(frozen=True, eq=False)
class RowDependence:
    """Columns whose rows depend on the rows before."""

    columns: tuple[int, ...]
    """Indices of the columns, the most correlated first."""
    lag: int
    """Distance between rows at which they correlate most; 1 is the next row."""
    correlations: tuple[float, ...]
    """Correlation of each column with itself at that distance."""
    rows: int
    """Rows that were tested."""
    effective_rows: int
    """Rows that count for the dependence of two such columns, on average (M. S. Bartlett, 1935)."""
    variance_ratios: Float[ndarray, "d d"]
    """Variance of the correlation of two independent columns with these rows, over that of independent rows; 1 or more,
    and 1 for columns whose rows are not found dependent."""


def row_dependence(
    values: Float[ndarray, "n d"], kinds: tuple[ColumnKind, ...], blocks: Int[ndarray, "n"] | None = None
) -> RowDependence | None:
    """The dependence of the rows on those before them; None where there is none that does harm.

    Args:
        values: numbers and codes of levels in the table's order, NaN where missing.
        kinds: kinds of the columns.
        blocks: block of each row, where a line was taken out of each block; the test is then within blocks.
    """
    values = values[:MAX_TESTED_ROWS]
    if len(values) < MIN_TESTED_ROWS:
        return None
    keys, stretches = sort_keys(values, kinds) if blocks is None else ([], blocks[:MAX_TESTED_ROWS])
    scores, owners = scored_columns(values, kinds, keys)
    if not owners.size:
        return None
    p = _p_values(_detrended(scores, stretches), stretches)
    found = np.unique(owners[p.min(1) * p.size < ALPHA])
    if not found.size or found.size + len(keys) < 2:
        return None
    first = np.array([int(np.flatnonzero(owners == k)[p[owners == k].min(1).argmin()]) for k in found])
    correlations = _autocorrelations(_without_keys(scores[:, first], _ranked(values[:, keys])))
    ratios = _variance_ratios(correlations)
    walks = correlations[0] > 1 - UNIT_ROOT / len(values)
    ratios[np.ix_(walks, walks)] = len(values) / ROWS_OF_WALKS
    harm = float(ratios[np.triu_indices(len(ratios), 1)].mean())
    if harm < MIN_HARM:
        return None
    lags = [lag for lag in LAGS if lag <= len(correlations)]
    strength = np.abs(correlations[np.array(lags) - 1, : found.size]).mean(1)
    lag = lags[int(strength.argmax())]
    shown = correlations[lag - 1, : found.size]
    order = np.argsort(-np.abs(shown), kind="stable")
    columns, n = tuple(found[order].tolist()), len(values)
    whole = np.ones((len(kinds), len(kinds)))
    whole[np.ix_([*found, *keys], [*found, *keys])] = ratios
    return RowDependence(columns, lag, tuple(shown[order].tolist()), n, max(1, round(n / harm)), whole)


def sort_keys(values: Float[ndarray, "n d"], kinds: tuple[ColumnKind, ...]) -> tuple[list[int], Int[ndarray, "n"]]:
    """The columns that the rows are sorted by, the first one first, and the stretch of each row.

    Numbers are sorted that never fall or never rise; levels, where each is one stretch of rows. In a stretch the keys
    are equal, or nearly so: at least `STRETCH_ROWS` rows where there are as many.
    """
    runs, keys = np.zeros(len(values), np.int64), []
    while len(keys) < MAX_KEYS:
        left = (k for k in range(len(kinds)) if k not in keys and not np.isnan(values[:, k]).any())
        key = next((k for k in left if _sorted_within(values[:, k], runs, numeric=kinds[k] == "continuous")), None)
        if key is None:
            break
        keys.append(key)
        changes = np.diff(values[:, key], prepend=values[0, key]) != 0
        runs = np.cumsum(changes | (np.diff(runs, prepend=0) != 0))
    return keys, _merged(runs)


def _sorted_within(column: Float[ndarray, "n"], runs: Int[ndarray, "n"], *, numeric: bool) -> bool:
    inside = np.diff(runs) == 0
    steps = np.diff(column)[inside]
    if not steps.any():
        return False
    if numeric:
        return bool((steps >= 0).all() or (steps <= 0).all())
    pairs = np.stack([runs, column.astype(np.int64)], 1)
    return len(np.unique(pairs, axis=0)) == 1 + int((np.diff(pairs, axis=0) != 0).any(1).sum())


def _merged(runs: Int[ndarray, "n"]) -> Int[ndarray, "n"]:
    """Runs with neighbours joined until each has `STRETCH_ROWS` rows."""
    sizes, found, held = np.bincount(runs), np.zeros(runs.max() + 1, np.int64), 0
    stretch, rest = 0, int(sizes.sum())
    for run, size in enumerate(sizes.tolist()):
        if held >= STRETCH_ROWS and rest >= STRETCH_ROWS:
            stretch, held = stretch + 1, 0
        found[run] = stretch
        held, rest = held + size, rest - size
    return found[runs]


def scored_columns(
    values: Float[ndarray, "n d"], kinds: tuple[ColumnKind, ...], keys: list[int]
) -> tuple[Float[ndarray, "n f"], Int[ndarray, "f"]]:
    """Centred ranks of the columns but the keys, for nominal ones indicators of levels, and the column of each.

    They are 0 where missing; columns that are all but constant are left out.
    """
    found, owners = [], []
    for k, kind in enumerate(kinds):
        if k in keys:
            continue
        column = values[:, k]
        levels = range(min(NOMINAL_FEATURES, int(np.nanmax(column)) + 1)) if kind == "nominal" else ()
        features = [np.where(np.isnan(column), np.nan, column == level) for level in levels] or [column]
        for feature in features:
            score = _ranked(feature[:, None])[:, 0]
            kurtosis = float((score**4).mean() / max((score**2).mean() ** 2, 1e-300))
            if score.any() and len(score) >= MIN_SPREAD * kurtosis**2:
                found.append(score)
                owners.append(k)
    return np.stack(found, 1) if found else np.zeros((len(values), 0)), np.array(owners, np.int64)


def _ranked(values: Float[ndarray, "n f"]) -> Float[ndarray, "n f"]:
    """Centred mean ranks of the known cells; 0 where missing."""
    ranks = [mean_ranks(column) for column in values.T]
    return np.stack([np.nan_to_num(rank - np.nanmean(rank)) for rank in ranks], 1) if ranks else values


def _detrended(scores: Float[ndarray, "n f"], stretches: Int[ndarray, "n"]) -> Float[ndarray, "n f"]:
    """Scores less their mean in each stretch and, where the table is sorted, a line through it."""
    found = scores.copy()
    for rows, basis in _bases(stretches):
        found[rows] -= basis @ (basis.T @ found[rows])
    return found


def _bases(stretches: Int[ndarray, "n"]) -> list[tuple[slice, Float[ndarray, "m p"]]]:
    """The rows of each stretch, with an orthonormal basis of a constant and, in a sorted table, a line."""
    starts = np.flatnonzero(np.diff(stretches, prepend=-1))
    found = []
    for start, end in zip(starts, [*starts[1:], len(stretches)], strict=True):
        place = np.arange(end - start) - (end - start - 1) / 2
        basis = np.ones((end - start, 1)) / np.sqrt(end - start)
        if len(starts) > 1 and end - start > 2:
            basis = np.column_stack([basis, place / np.sqrt((place**2).sum())])
        found.append((slice(int(start), int(end)), basis))
    return found


def _p_values(scores: Float[ndarray, "n f"], stretches: Int[ndarray, "n"]) -> Float[ndarray, "f t"]:
    """P-values of each column's correlations at `LAGS`, and of the means of blocks of rows."""
    bases = _bases(stretches)
    variances = [(scores[rows] ** 2).sum(0) / max(1, len(basis) - basis.shape[1]) for rows, basis in bases]
    found = []
    for lag in (lag for lag in LAGS if lag <= len(scores) // 4):
        together = (stretches[lag:] == stretches[:-lag])[:, None]
        total = (scores[lag:] * scores[:-lag] * together).sum(0)
        spread = np.zeros_like(total)
        for variance, (_, basis) in zip(variances, bases, strict=True):
            # Removing the basis makes neighbours correlate negatively: the trace of its projection at this lag.
            total += (basis[lag:] * basis[:-lag]).sum() * variance
            spread += max(0, len(basis) - lag) * variance**2
        found.append(2 * stats.norm.sf(np.abs(total) / np.sqrt(np.maximum(spread, 1e-300))))
    found.append(_drift_p_values(scores, variances, bases))
    return np.stack(found, 1)


def _drift_p_values(scores: Float[ndarray, "n f"], variances: list, bases: list) -> Float[ndarray, "f"]:
    """P-values of the means of blocks of `DRIFT_ROWS` rows within stretches, by the chi-squared distribution."""
    total, freedom = np.zeros(scores.shape[1]), 0
    for variance, (rows, basis) in zip(variances, bases, strict=True):
        blocks = len(basis) // DRIFT_ROWS
        if blocks < 2 * basis.shape[1]:
            continue
        inside = scores[rows][: blocks * DRIFT_ROWS].reshape(blocks, DRIFT_ROWS, -1).sum(1)
        total += (inside**2).sum(0) / DRIFT_ROWS / np.maximum(variance, 1e-300)
        freedom += blocks - basis.shape[1]
    return stats.chi2.sf(total, freedom) if freedom else np.ones(scores.shape[1])


def _without_keys(scores: Float[ndarray, "n f"], keys: Float[ndarray, "n k"]) -> Float[ndarray, "n f+k"]:
    """Scores less their cubic regression on the columns that the rows are sorted by, and these columns."""
    if not keys.shape[1]:
        return scores
    scaled = keys / np.abs(keys).max(0)
    powers = np.concatenate([np.ones((len(keys), 1)), scaled, scaled**2, scaled**3], 1)
    return np.concatenate([scores - powers @ np.linalg.lstsq(powers, scores, rcond=None)[0], keys], 1)


def _autocorrelations(series: Float[ndarray, "n f"]) -> Float[ndarray, "l f"]:
    """Correlations of each column with itself 1, 2, … rows on, up to a quarter of the rows."""
    n, most = len(series), max(1, len(series) // 4)
    power = np.abs(np.fft.rfft(series - series.mean(0), 2 * n, axis=0)) ** 2
    products = np.fft.irfft(power, 2 * n, axis=0)[: most + 1]
    return products[1:] / np.maximum(products[0], 1e-300)


def _variance_ratios(correlations: Float[ndarray, "l f"]) -> Float[ndarray, "f f"]:
    """1 + 2 Σ ρ_i ρ_j of each pair of columns, the variance of their correlation over that of independent rows.

    The sum ends where it no longer rises, before noise adds up.
    """
    sums = [np.cumsum(correlations * one[:, None], 0).max(0, initial=0.0) for one in correlations.T]
    return 1 + 2 * np.stack(sums)
