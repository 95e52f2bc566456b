"""The regime of a table for BIC, and the test of linearity that it rests on."""

import numpy as np
import pytest
from scipy import stats

from intaglio.causal.methods.sicl.decoding import score_regime as module
from intaglio.causal.methods.sicl.decoding.score_regime import SCORE_REGIMES, score_regime
from intaglio.causal.methods.sicl.networks.encoding import BINARY, CONTINUOUS, NOMINAL, ORDINAL

NUMBERS = np.full(3, CONTINUOUS)
INTO_LAST = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]], bool)


def table(bend=0.0, rows=400, seed=0, noise=1.0):
    """a and b, and what they make: a + b + bend·a·b."""
    rng = np.random.default_rng(seed)
    a, b, left = rng.standard_normal((3, rows))
    return np.stack([a, b, a + b + bend * a * b + noise * left], 1)


def reset(x, parents, child):
    """Ramsey's test by its formula, with the sums of squares from normal equations."""
    z = np.clip((x - x.mean(0)) / x.std(0), -4, 4)
    straight = np.column_stack([np.ones(len(x)), z[:, parents]])
    products = [z[:, i] * z[:, j] for k, i in enumerate(parents) for j in parents[k:]]
    bent = np.column_stack([straight, *products])
    sums = []
    for design in (straight, bent):
        weights = np.linalg.solve(design.T @ design, design.T @ z[:, child])
        sums.append(((z[:, child] - design @ weights) ** 2).sum())
    more, free = len(products), len(x) - bent.shape[1]
    return stats.f.sf((sums[0] - sums[1]) / more / (sums[1] / free), more, free)


@pytest.mark.parametrize("bend", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_test_is_ramseys(bend, seed):
    x = table(bend, seed=seed)
    found = module._p_linear(x, np.array([0, 1]), 2)
    assert found == pytest.approx(reset(x, [0, 1], 2), rel=1e-6, abs=1e-300)


def test_rows_with_gaps_in_the_family_are_left_out_and_others_kept():
    x = table(0.2)
    gaps = x.copy()
    gaps[:50, 0], gaps[60:80, 2] = np.nan, np.nan
    whole = np.delete(x, [*range(50), *range(60, 80)], 0)
    assert module._p_linear(gaps, np.array([0, 1]), 2) == pytest.approx(module._p_linear(whole, np.array([0, 1]), 2))
    elsewhere = np.c_[x, np.full(len(x), np.nan)]
    assert module._p_linear(elsewhere, np.array([0, 1]), 2) == module._p_linear(x, np.array([0, 1]), 2)


def test_lines_are_linear_and_bends_are_not():
    assert score_regime(table(0.0), NUMBERS, INTO_LAST) == "linear"
    assert score_regime(table(1.0), NUMBERS, INTO_LAST) == "nonlinear"
    square = table()
    square[:, 2] = square[:, 0] ** 2 + 0.5 * square[:, 1]
    assert score_regime(square, NUMBERS, INTO_LAST) == "nonlinear"
    # What bends is not looked at where no arrow says so.
    assert score_regime(table(1.0), NUMBERS, np.zeros((3, 3), bool)) == "linear"
    assert score_regime(table(1.0)[:, :0], NUMBERS[:0], np.zeros((0, 0), bool)) == "levels"


def test_linear_tables_are_seldom_taken_for_bent():
    wrong = sum(score_regime(table(0.0, 100, seed), NUMBERS, INTO_LAST) == "nonlinear" for seed in range(300))
    assert wrong <= 10  # 3 expected of 300 at 0.01; more than 10 in one of 4000 such counts
    rng = np.random.default_rng(0)
    dag = np.triu(np.ones((8, 8), bool), 1)
    many = sum(
        score_regime(rng.standard_normal((120, 8)), np.full(8, CONTINUOUS), dag) == "nonlinear" for _ in range(150)
    )
    assert many <= 7  # Bonferroni over the seven variables with parents


@pytest.mark.parametrize("other", [ORDINAL, BINARY, NOMINAL])
def test_levels_decide_before_any_test(other, monkeypatch):
    monkeypatch.setattr(module, "_p_linear", lambda *args: pytest.fail("tested"))
    assert score_regime(table(), np.full(3, other), INTO_LAST) == "levels"
    assert score_regime(table(), np.array([CONTINUOUS, other, CONTINUOUS]), INTO_LAST) == "mixed"
    assert set(SCORE_REGIMES) == {"linear", "nonlinear", "levels", "mixed"}


def test_few_rows_are_tested_with_squares_alone_or_not_at_all():
    x = np.random.default_rng(0).standard_normal((40, 6))
    parents = np.arange(5)
    z = np.clip((x - x.mean(0)) / x.std(0), -4, 4)
    straight = np.column_stack([np.ones(40), z[:, :5]])
    bent = np.column_stack([straight, z[:, :5] ** 2])
    left, less = (((z[:, 5] - a @ np.linalg.lstsq(a, z[:, 5], rcond=None)[0]) ** 2).sum() for a in (straight, bent))
    wanted = stats.f.sf((left - less) / 5 / (less / 29), 5, 29)
    assert module._p_linear(x, parents, 5) == pytest.approx(wanted, rel=1e-9)
    assert module._p_linear(x[:31], parents, 5) == 1.0
    assert module._p_linear(np.full((40, 6), np.nan), parents, 5) == 1.0


def test_constant_columns_and_exact_lines_do_not_bend():
    x = table()
    x[:, 2] = 2 * x[:, 0] - x[:, 1]
    assert module._p_linear(x, np.array([0]), 1) > 0
    assert score_regime(x, NUMBERS, INTO_LAST) in ("linear", "nonlinear")
    for k in range(3):
        flat = table()
        flat[:, k] = 9.81
        assert score_regime(flat, NUMBERS, INTO_LAST) == "linear"


def test_wild_rows_do_not_decide():
    x = table(seed=3)
    x[:2] = [[50.0, 40.0, 1e4], [-60.0, 30.0, 1e4]]
    rest = np.clip((x - x.mean(0)) / x.std(0), -4, 4)
    assert module._scaled(x) == pytest.approx(rest)
    assert abs(module._scaled(x)).max() == 4.0
