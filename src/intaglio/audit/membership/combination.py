"""Combination of several signals into one score, with controls exchangeable with the tested picture.

A standardisation fitted on the controls alone is optimistic for them: they lie closer to their own mean than any new
picture does, so a new picture's p-value comes out too small (with nine controls and three signals, 14% of new
pictures were called at a rate of 10%). Hence every picture is scored under a fit that
includes it ("full conformal", Vovk, Gammerman, Shafer 2005, chapter 2): to test picture q against n controls, means,
deviations and correlations are taken over all n + 1, to which q belongs like any other. If q is no different from
the controls, its rank among them is then uniform, exactly, for any number of controls and signals.

A signal whose both sides count is folded within each fit: in its place stands the distance from the median of all
n + 1, which treats q like any other too.

The weights are O'Brien's generalised least squares sum (Biometrics 40, 1984): w = R^-1 1, so that equal
signals share one weight, with the correlations R shrunk towards none and no weight below zero.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intaglio.metrics.statistics.conformal import RankTest, p_values, rank_test

Signals = Mapping[str, ArrayLike]


@dataclass(frozen=True, eq=False)
class Combined:
    """Combined scores of questioned pictures and controls, with p-values."""

    scores: NDArray[np.float64]
    """Scores of the m questioned pictures, each under the fit that includes it; NaN where a signal is missing."""
    controls: NDArray[np.float64]
    """Scores of the n controls, under the fit to all of them."""
    p_values: NDArray[np.float64]
    """p-values of the m questioned pictures, each from the ranks within one fit: not always those of `scores` against
    `controls`."""
    weights: dict[str, float]
    """Share of each signal under the fit to the controls; the shares sum to 1."""


def combine(signals: Signals, controls: Signals, folded: Collection[str] = ()) -> Combined:
    """Combined scores: signals standardised, weighted by correlation and summed; p-values by full conformal ranks.

    Args:
        signals: by name, a number for each questioned picture [m]; higher means "in the set".
        controls: the same names, a number for each control [n].
        folded: names of those signals whose both sides count.

    Raises:
        ValueError: no signals, or other names for the controls.
    """
    tested, known = _matrix(signals, controls), _matrix(controls, signals)
    known_rows, both = ~np.isnan(known).any(1), _columns(signals, folded)
    fitted = _folded(known[known_rows], both)
    scores, p = np.full(len(tested), np.nan), np.full(len(tested), np.nan)
    for i in np.flatnonzero(~np.isnan(tested).any(1)):
        together = _folded(np.vstack([known[known_rows], tested[i]]), both)
        every = _sums(together, _weights(together))
        scores[i], p[i] = every[-1], p_values(every[-1:], every[:-1])[0]
    own = np.full(len(known), np.nan)
    weights = _weights(fitted)
    own[known_rows] = _sums(fitted, weights)
    share = weights / weights.sum() if weights.sum() else weights
    return Combined(scores, own, p, dict(zip(signals, share.tolist(), strict=True)))


def combined_rank_test(signals: Signals, controls: Signals, folded: Collection[str] = (), *, seed: int = 0) -> RankTest:
    """The rank test of the whole set, with one fit to questioned pictures and controls together.

    The fit treats all pictures alike, so the test is exact whatever the weights.
    """
    tested, known = _matrix(signals, controls), _matrix(controls, signals)
    tested, known = tested[~np.isnan(tested).any(1)], known[~np.isnan(known).any(1)]
    together = _folded(np.vstack([tested, known]), _columns(signals, folded))
    sums = _sums(together, _weights(together))
    return rank_test(sums[: len(tested)], sums[len(tested) :], seed=seed)


def _matrix(signals: Signals, other: Signals) -> NDArray[np.float64]:
    if not signals or signals.keys() != other.keys():
        raise ValueError(f"questioned pictures and controls need the same signals, not {[*signals]} and {[*other]}")
    return np.stack([np.asarray(values, dtype=np.float64).ravel() for values in signals.values()], axis=1)


def _columns(signals: Signals, named: Collection[str]) -> NDArray[np.bool_]:
    return np.array([name in named for name in signals])


def _folded(rows: NDArray, columns: NDArray[np.bool_]) -> NDArray:
    """The rows with those columns as distances from their medians."""
    if not len(rows) or not columns.any():
        return rows
    return np.where(columns, np.abs(rows - np.median(rows, axis=0)), rows)


def _standardised(rows: NDArray) -> NDArray:
    """Mean 0 and deviation 1 a column; a column that does not vary becomes zeros."""
    if not len(rows):
        return rows
    deviation = rows.std(0)
    # Rounding gives a constant column a deviation of some 1e-17 of its size.
    varies = deviation > 1e-12 * np.abs(rows).max(0)
    return np.where(varies, (rows - rows.mean(0)) / np.where(varies, deviation, 1), 0.0)


def _weights(rows: NDArray) -> NDArray:
    count, signals = rows.shape
    if not count:
        return np.full(signals, 1 / signals)
    z = _standardised(rows)
    correlation = z.T @ z / count
    shrink = min(1.0, (signals + 1) / count)
    correlation = (1 - shrink) * correlation
    np.fill_diagonal(correlation, 1.0)
    return np.clip(np.linalg.solve(correlation, np.ones(signals)), 0, None)


def _sums(rows: NDArray, weights: NDArray) -> NDArray:
    return _standardised(rows) @ weights
