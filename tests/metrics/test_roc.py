import math
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intaglio.metrics.statistics import roc

scores = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("members", "holdouts", "expected"),
    [
        ([3, 2], [1, 0], 1.0),
        ([1, 0], [3, 2], 0.0),
        ([2, 1], [2, 0], 0.625),  # pairs: tie 1/2, win, loss, win
        ([1, 1, 1], [1, 1, 0], (6 * 0.5 + 3) / 9),
        ([5], [5], None),
        ([1, 1], [1, 1, 1], None),
        ([], [1], None),
        ([1], [], None),
        ([], [], None),
    ],
)
def test_auc_by_hand(members, holdouts, expected):
    assert roc.auc(members, holdouts) == (expected if expected is None else pytest.approx(expected))


@given(scores, scores)
def test_auc_counts_pairs_and_is_the_area_under_the_points(members, holdouts):
    wins = sum(Fraction(2 * (a > b) + (a == b), 2) for a, b in product(members, holdouts))
    value = roc.auc(members, holdouts)
    if value is None:
        assert len(set(members + holdouts)) == 1
        return
    assert value == pytest.approx(float(wins / (len(members) * len(holdouts))))
    assert value == pytest.approx(1 - roc.auc(holdouts, members))
    points = roc.roc_points(members, holdouts)
    assert points[0] == (0.0, 0.0)
    assert points[-1] == (1.0, 1.0)
    area = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points))
    assert area == pytest.approx(value)


@given(scores, scores, st.sampled_from([0.05, 0.2, 0.25, 0.5]))
def test_tpr_at_fpr_is_the_best_point_of_the_curve_within_the_rate(members, holdouts, rate):
    value = roc.tpr_at_fpr(members, holdouts, rate)
    if len(holdouts) < math.ceil(1 / rate) or len(set(members + holdouts)) == 1:
        assert value is None
        return
    assert value == pytest.approx(max(tpr for fpr, tpr in roc.roc_points(members, holdouts) if fpr <= rate + 1e-12))


def test_rates_too_low_for_the_holdouts_are_undefined():
    assert roc.needed_holdouts(0.01) == 100
    assert roc.needed_holdouts(0.05) == 20
    result = roc.separation(np.arange(50) + 10, np.arange(20))
    assert result.tpr_at_fpr == {0.01: None, 0.05: pytest.approx(41 / 50)}
    assert result.tpr_intervals[0.01] is None
    low, high = result.tpr_intervals[0.05]
    assert low <= 41 / 50 <= high


@given(scores, scores)
def test_best_accuracy_by_brute_force(members, holdouts):
    found = roc.best_accuracy(members, holdouts)
    if len(set(members + holdouts)) == 1:
        assert found is None
        return
    accuracy, threshold = found
    cuts = [-1, 0.5, 1.5, 2.5, 3.5, 9]
    best = max(sum(a >= c for a in members) + sum(b < c for b in holdouts) for c in cuts)
    assert accuracy == pytest.approx(best / len(members + holdouts))
    right = sum(a >= threshold for a in members) + sum(b < threshold for b in holdouts)
    assert right == best


def test_best_accuracy_may_call_nothing():
    assert roc.best_accuracy([0.0], [1.0, 2.0, 3.0]) == (0.75, math.inf)


def test_bootstrap_is_seeded_stratified_and_covers():
    generator = np.random.default_rng(0)
    members, holdouts = generator.normal(1, 1, 40), generator.normal(0, 1, 30)
    first = roc.separation(members, holdouts, draws=500, seed=3)
    assert first == roc.separation(members, holdouts, draws=500, seed=3)
    assert first.auc_interval != roc.separation(members, holdouts, draws=500, seed=4).auc_interval
    low, high = first.auc_interval
    assert low < first.auc < high
    # Hanley and McNeil's standard error, an independent way to the same width.
    a = first.auc
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = math.sqrt((a * (1 - a) + 39 * (q1 - a * a) + 29 * (q2 - a * a)) / (40 * 30))
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.25)


def test_a_bootstrap_in_pieces_bounds_its_memory_and_stays_within_its_spread(monkeypatch):
    whole = roc.separation([3, 1, 2, 5], [0, 1, 2], draws=4000).auc_interval
    monkeypatch.setattr(roc, "BOOTSTRAP_CELLS", 12 * 50)
    assert roc.resamples_at_once(4, 3) == 50
    rows, real = [], roc.row_aucs
    monkeypatch.setattr(roc, "row_aucs", lambda p, n: rows.append(len(p)) or real(p, n))
    parts = roc.separation([3, 1, 2, 5], [0, 1, 2], draws=4000).auc_interval
    assert max(rows) == 50
    assert sum(rows) == 4000 + 1
    assert parts == pytest.approx(whole, abs=0.05)


def test_one_member_or_one_holdout_still_has_an_interval():
    assert roc.separation([2.0], [1.0]).auc_interval == (1.0, 1.0)
    low, high = roc.separation([2.0], [1.0, 3.0], draws=500).auc_interval
    assert (low, high) == (0.0, 1.0)


@pytest.mark.parametrize(("members", "holdouts"), [([], []), ([1.0], []), ([2.0] * 3, [2.0] * 4), ([math.nan], [1.0])])
def test_what_the_data_cannot_carry_is_undefined_and_never_raises(members, holdouts):
    result = roc.separation(members, holdouts)
    assert result.auc is None
    assert result.auc_interval is None
    assert result.best_accuracy is None
    assert result.roc == ()
    assert set(result.tpr_at_fpr.values()) == {None}


def test_pictures_without_a_score_are_counted():
    result = roc.separation([1.0, math.nan, 3.0], [0.0, math.nan])
    assert (result.members, result.holdouts, result.left_out) == (2, 1, 2)
    assert result.auc == 1.0
    assert result.to_dict()["tpr_at_fpr"] == {"0.01": None, "0.05": None}
