"""The regime of a table for BIC: levels, mixed, or numbers with linear or nonlinear effects."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import stats

from intaglio.causal.methods.sicl.networks.encoding import CONTINUOUS

ScoreRegime = Literal["linear", "nonlinear", "levels", "mixed"]
SCORE_REGIMES: tuple[ScoreRegime, ...] = get_args(ScoreRegime)
LINEARITY_ALPHA = 0.01
"""Level of the test of linearity, over all variables together."""
MAX_TESTED_ROWS = 20_000
"""Rows that are tested; a nonlinearity that needs more rows to be found does no harm."""


def score_regime(values: Float[ndarray, "n d"], kinds: Int[ndarray, "d"], dag: Bool[ndarray, "d d"]) -> ScoreRegime:
    """The regime of a table, given a DAG over its columns.

    Levels only, numbers and levels, or numbers only, with effects that count as linear unless squares and products of a
    variable's parents explain residuals of its linear regression on them (the F-test of J. Ramsey's RESET, 1969, with
    Bonferroni's correction over the variables).

    Args:
        values: numbers and codes of levels, NaN where missing.
        kinds: kinds of the columns, as codes of `encoding`.
        dag: [i, j] is i → j.
    """
    if not (kinds == CONTINUOUS).any():
        return "levels"
    if not (kinds == CONTINUOUS).all():
        return "mixed"
    tested = [_p_linear(values[:MAX_TESTED_ROWS], np.flatnonzero(dag[:, j]), j) for j in np.flatnonzero(dag.any(0))]
    return "nonlinear" if tested and min(tested) * len(tested) < LINEARITY_ALPHA else "linear"


def _p_linear(values: Float[ndarray, "n d"], parents: Int[ndarray, "p"], child: int | np.integer) -> float:
    """P-value of the F-test that squares and products of the parents add nothing; 1 with too few rows."""
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
    """Standardised and clipped at four deviations, so that outliers are not decisive."""
    return np.clip((x - x.mean(0)) / np.maximum(x.std(0), 1e-12), -4, 4)
