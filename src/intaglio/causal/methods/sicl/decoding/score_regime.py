"""What a score of the rows may assume of a table: levels, linear effects, or neither."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import stats

from intaglio.causal.methods.sicl.networks.encoding import CONTINUOUS

ScoreRegime = Literal["linear", "nonlinear", "levels", "mixed"]
SCORE_REGIMES: tuple[ScoreRegime, ...] = get_args(ScoreRegime)
LINEARITY_ALPHA = 0.01
"""Probability under linear effects below which they are given up, all variables together."""
MAX_TESTED_ROWS = 20_000
"""Rows that are looked at; a bend that more would be needed for does no harm."""


def score_regime(values: Float[ndarray, "n d"], kinds: Int[ndarray, "d"], dag: Bool[ndarray, "d d"]) -> ScoreRegime:
    """What kind of table it is, given what stands before what.

    All levels; numbers and levels; or numbers alone, whose effects are taken for linear unless some variable bends: the
    squares and products of its parents explain what a linear regression on them leaves over (the F-test of J. Ramsey's
    RESET of 1969, with Bonferroni's correction over the variables).

    Args:
        values: numbers and codes, NaN where missing.
        kinds: of the columns, as in `encoding`.
        dag: [i, j]: i → j.
    """
    if not (kinds == CONTINUOUS).any():
        return "levels"
    if not (kinds == CONTINUOUS).all():
        return "mixed"
    tested = [_p_linear(values[:MAX_TESTED_ROWS], np.flatnonzero(dag[:, j]), j) for j in np.flatnonzero(dag.any(0))]
    return "nonlinear" if tested and min(tested) * len(tested) < LINEARITY_ALPHA else "linear"


def _p_linear(values: Float[ndarray, "n d"], parents: Int[ndarray, "p"], child: int | np.integer) -> float:
    """P-value of the F-test that squares and products of the parents add nothing; 1 where rows are too few."""
    gaps = np.isnan(values)
    rows = values[~(gaps[:, parents].any(axis=1) | gaps[:, child])]
    n, p = len(rows), len(parents)
    first, second = np.triu_indices(p)
    if n < 2 * (1 + p + len(first)) + 10:
        first, second = np.arange(p), np.arange(p)
    if n < 2 * (1 + p + len(first)) + 10:
        return 1.0
    x = _scaled(rows[:, parents])
    y = _scaled(rows[:, int(child) : int(child) + 1])
    linear = np.concatenate([np.ones((n, 1)), x], 1)
    curved = np.concatenate([linear, x[:, first] * x[:, second]], 1)
    rss_linear, rss_curved = (
        float(((y - a @ np.linalg.lstsq(a, y, rcond=None)[0]) ** 2).sum()) for a in (linear, curved)
    )
    more, free = len(first), n - curved.shape[1]
    return float(stats.f.sf(max(rss_linear - rss_curved, 0.0) / more / max(rss_curved / free, 1e-12), more, free))


def _scaled(x: Float[ndarray, "n p"]) -> Float[ndarray, "n p"]:
    """Standardised and clipped at four deviations, so that a few wild rows do not decide."""
    return np.clip((x - x.mean(0)) / np.maximum(x.std(0), 1e-12), -4, 4)
