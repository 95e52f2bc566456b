import math
from fractions import Fraction
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, mannwhitneyu

from intaglio.errors import BadInput
from intaglio.metrics.statistics import conformal as cal
from intaglio.metrics.statistics.enough_controls import check_controls, fewest_controls

few = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=6)


def test_p_values_by_hand():
    assert cal.p_values([5, 3, 0, math.nan], [1, 2, 3, 4]).tolist()[:3] == [1 / 5, 3 / 5, 1.0]
    assert math.isnan(cal.p_values([math.nan], [1.0])[0])
    assert cal.p_values([7.0], []).tolist() == [1.0]
    assert cal.p_values([7.0], [1.0, math.nan]).tolist() == [0.5]


def test_p_values_are_valid_for_exchangeable_pictures():
    """Exact over all orders: of n+1 exchangeable pictures at most f(n+1) get p <= f, ties or not."""
    for values in ([1, 2, 3, 4, 5], [1, 1, 2, 2, 2], [3, 3, 3, 3, 3]):
        p = [cal.p_values([values[i]], values[:i] + values[i + 1 :])[0] for i in range(5)]
        for rate in (0.2, 0.4, 0.6, 0.8):
            assert np.mean([v <= rate + 1e-12 for v in p]) <= rate + 1e-12


def test_two_sided_p_values_by_hand():
    p = cal.p_values([5, 3, 2.5, 1, 0, math.nan], [1, 2, 3, 4], "both")
    # Reached from above by 0, 2, 2, 4, 4 controls, from below by 4, 3, 2, 1, 0.
    assert p.tolist()[:5] == [2 / 5, 1, 1, 4 / 5, 2 / 5]
    assert math.isnan(p[5])
    assert cal.p_values([7.0], [], "both").tolist() == [1.0]


@pytest.mark.parametrize("values", [[1, 2, 3, 4, 5, 6], [1, 1, 2, 2, 2, 7], [3, 3, 3, 3, 3, 3], [0, 0, 0, 1, 1, 1]])
def test_the_two_sided_rate_is_exact_over_all_orders_and_at_most_the_asked_one_with_ties(values):
    """All 720 orders of one picture and five controls, each as likely: ranks 1 and 6 have p = 2/6, 2 and 5 have 4/6."""
    every = list(map(list, permutations(values)))
    p = np.array([cal.p_values(order[:1], order[1:], "both")[0] for order in every])
    for rate in (1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6):
        share = Fraction(int((p <= rate + 1e-12).sum()), len(every))
        assert share <= Fraction(rate + 1e-12)
        if len(set(values)) == len(values):
            assert share == Fraction(int(rate * 6 + 1e-9) // 2 * 2, 6)
            low = Fraction(
                int(sum(v <= rate + 1e-12 and o[0] < 3.5 for v, o in zip(p, every, strict=True))), len(every)
            )
            assert low == share / 2


def test_the_two_sided_rate_by_simulation_and_its_power_to_either_side():
    """39 controls are just enough for 5%; skewed scores, whose tails differ."""
    drawn = np.random.default_rng(0).exponential(size=(4000, 40))
    calls = [cal.called(cal.p_values(row[:1], row[1:], "both"), 0.05)[0] for row in drawn]
    assert np.mean(calls) == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 4000))
    assert cal.called(cal.p_values([-1, 50], drawn[0, 1:], "both"), 0.05).all()
    assert not cal.called(cal.p_values([-1, 50], drawn[0, 2:], "both"), 0.05).any()


@given(st.lists(st.integers(0, 6).map(float), min_size=1, max_size=50), st.sampled_from([0.05, 0.1, 0.2, 0.5, 0.99]))
def test_two_thresholds_call_exactly_those_with_a_small_two_sided_p_value(controls, rate):
    found = cal.threshold(controls, rate, sides="both")
    candidates = [c + shift for c in range(-1, 8) for shift in (0.0, 0.5)]
    by_p = cal.called(cal.p_values(candidates, controls, "both"), rate)
    assert by_p.tolist() == [found.beyond(one) for one in candidates]
    assert found.enough == (len(controls) >= cal.needed_controls(rate, "both"))
    assert found.bounds == ((found.lower, found.value) if found.enough else ())
    if found.enough:
        assert found.lower <= found.value
        assert found.observed == sum(map(found.beyond, controls))
        assert found.rate <= rate + 1e-12


def test_the_interval_of_two_thresholds_covers_their_rate():
    """Uniform scores: the share outside the thresholds is known. One control fewer would be covered too seldom."""
    drawn = np.sort(np.random.default_rng(1).random((4000, 39)), axis=1)
    found = cal.threshold(drawn[0], 0.2, sides="both")
    assert (found.lower, found.value, found.observed) == (drawn[0, 3], drawn[0, -4], 6)
    rates = drawn[:, 3] + 1 - drawn[:, -4]
    near = pytest.approx(0.975, abs=4 * math.sqrt(0.975 * 0.025 / 4000))
    assert np.mean(rates <= found.interval[1]) == near
    assert np.mean(rates <= cal.clopper_pearson(6, 39)[1]) < 0.96
    assert np.mean(rates >= found.interval[0]) >= 0.975


@pytest.mark.parametrize(("rate", "needed"), [(0.05, 39), (0.01, 199), (0.1, 19), (0.5, 3), (0.3, 6)])
def test_both_sides_take_twice_the_controls(rate, needed):
    assert cal.needed_controls(rate, "both") == needed == fewest_controls(rate, "both")
    short = cal.threshold(np.arange(needed - 1), rate, sides="both")
    assert f"needs at least {needed} controls, as scores to both sides count" in short.statement
    assert cal.threshold(np.arange(needed), rate, sides="both").enough
    check_controls(needed, rate, sides="both")
    with pytest.raises(BadInput, match=f"for which {needed} are needed where scores to both sides count"):
        check_controls(needed - 1, rate, sides="both")


def test_the_rate_that_is_offered_for_few_controls_is_one_that_they_show():
    with pytest.raises(BadInput, match=r"ask for --fpr 0\.096$"):
        check_controls(20, 0.05, sides="both")
    check_controls(20, 0.096, sides="both")
    with pytest.raises(BadInput, match="by --controls$"):
        check_controls(1, 0.05, sides="both")


@given(st.lists(st.integers(0, 6).map(float), min_size=1, max_size=30), st.sampled_from([0.03, 0.05, 0.1, 0.2, 0.5]))
def test_the_threshold_calls_exactly_those_with_a_small_p_value(controls, rate):
    found = cal.threshold(controls, rate)
    candidates = [c + shift for c in range(-1, 8) for shift in (0.0, 0.5)]
    by_p = cal.called(cal.p_values(candidates, controls), rate)
    by_bar = [found.value is not None and s > found.value for s in candidates]
    assert by_p.tolist() == by_bar
    assert found.enough == (len(controls) >= math.ceil(1 / rate - 1e-9) - 1)
    if found.enough:
        assert found.rate <= rate + 1e-12
        low, high = found.interval
        assert low <= found.observed / len(controls) <= high


@pytest.mark.parametrize(("rate", "needed"), [(0.05, 19), (0.01, 99), (0.1, 9), (0.5, 1), (0.3, 3)])
def test_too_few_controls_is_said(rate, needed):
    assert cal.needed_controls(rate) == needed
    short = cal.threshold(np.arange(needed - 1), rate)
    assert not short.enough
    assert f"needs at least {needed} controls" in short.statement
    assert not cal.called(cal.p_values([1e9], np.arange(needed - 1)), rate).any()
    enough = cal.threshold(np.arange(needed), rate)
    assert enough.enough
    assert cal.called(cal.p_values([1e9], np.arange(needed)), rate).all()
    assert f"{needed} controls" in enough.statement


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, 2.0])
def test_a_rate_outside_0_1_is_refused(rate):
    with pytest.raises(ValueError, match="between 0 and 1"):
        cal.threshold([1.0, 2.0], rate)


def test_clopper_pearson_inverts_the_binomial():
    for count, total in ((0, 10), (1, 10), (5, 40), (10, 10)):
        low, high = cal.clopper_pearson(count, total)
        if count:
            assert binom.sf(count - 1, total, low) == pytest.approx(0.025)
        if count < total:
            assert binom.cdf(count, total, high) == pytest.approx(0.025)
    assert cal.clopper_pearson(0, 10)[0] == 0.0
    assert cal.clopper_pearson(10, 10)[1] == 1.0
    assert cal.clopper_pearson(0, 0) is None


@given(few, few)
def test_the_exact_rank_test_counts_all_assignments(scores, controls):
    pooled = scores + controls
    rank = [sum(b < a for b in pooled) + (sum(b == a for b in pooled) + 1) / 2 for a in pooled]
    sums = [sum(rank[i] for i in chosen) for chosen in combinations(range(len(pooled)), len(scores))]
    expected = np.mean([s >= sum(rank[: len(scores)]) - 1e-9 for s in sums])
    found = cal.rank_test(scores, controls)
    assert found.p_value == pytest.approx(expected)
    assert found.smallest == pytest.approx(1 / len(sums))
    assert found.exact


@pytest.mark.parametrize(("sides", "alternative"), [("upper", "greater"), ("both", "two-sided")])
@pytest.mark.parametrize("shift", [0.4, -0.4])
def test_the_exact_rank_test_agrees_with_scipy_without_ties(sides, alternative, shift):
    generator = np.random.default_rng(1)
    scores, controls = generator.normal(shift, 1, 25), generator.normal(0, 1, 40)
    expected = mannwhitneyu(scores, controls, alternative=alternative, method="exact").pvalue
    assert cal.rank_test(scores, controls, sides=sides).p_value == pytest.approx(expected)


def test_the_two_sided_rank_test_is_exact_over_all_choices_of_the_set():
    for pooled in ([1, 2, 3, 4, 5, 6, 7], [1, 1, 1, 2, 3, 3, 9]):
        found = [
            cal.rank_test([pooled[i] for i in one], [pooled[i] for i in range(7) if i not in one], sides="both")
            for one in combinations(range(7), 3)
        ]
        assert found[0].smallest == 2 / 35
        for rate in (2 / 35, 0.1, 0.2, 0.5):
            assert np.mean([one.p_value <= rate + 1e-12 for one in found]) <= rate + 1e-12
    assert cal.rank_test([9, 8, 7], [1, 2, 3, 4], sides="both").p_value == pytest.approx(2 / 35)
    assert cal.rank_test([1, 2, 3], [9, 8, 7, 4], sides="both").p_value == pytest.approx(2 / 35)


def test_the_permutation_test_is_seeded_and_near_the_exact_one(monkeypatch):
    generator = np.random.default_rng(1)
    scores, controls = generator.normal(0.5, 1, 20), generator.normal(0, 1, 30)
    exact = cal.rank_test(scores, controls)
    monkeypatch.setattr(cal, "EXACT_LIMIT", 10)
    turned = cal.rank_test(-scores, -controls, seed=2, permutations=4999, sides="both")
    assert turned.p_value == pytest.approx(2 * exact.p_value, abs=8 * math.sqrt(exact.p_value / 5000))
    assert turned.smallest == 2 / 5000
    drawn = cal.rank_test(scores, controls, seed=2, permutations=4999)
    assert not drawn.exact
    assert drawn == cal.rank_test(scores, controls, seed=2, permutations=4999)
    assert drawn.smallest == 1 / 5000
    assert drawn.p_value == pytest.approx(exact.p_value, abs=4 * math.sqrt(exact.p_value / 5000))


def test_the_rank_test_of_nothing_is_undefined():
    assert cal.rank_test([], [1.0]).p_value is None
    assert cal.rank_test([1.0], []).p_value is None
    assert cal.rank_test([2.0, 2.0], [2.0]).p_value == 1.0


@given(
    controls=st.lists(st.integers(-50, 50), min_size=1, max_size=80), rate=st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5])
)
def test_the_stated_rate_counts_the_picture_itself_among_the_controls(controls, rate):
    """A new picture is as likely as each control to rank anywhere: with k above the bar, (k + 1) / (n + 1) at most."""
    found = cal.threshold(controls, rate)
    if found.value is None:
        assert found.rate is None
        return
    above = sum(score > found.value for score in controls)
    assert found.observed == above
    assert found.rate == (above + 1) / (len(controls) + 1)
    assert found.attainable_rate == 1 / (len(controls) + 1)
    assert found.interval == cal.clopper_pearson(above, len(controls))


def test_the_stated_rate_by_hand():
    assert cal.threshold(range(19), 0.05).rate == 1 / 20
    assert cal.threshold(range(99), 0.05).rate == 5 / 100
    assert cal.threshold([1, 2, 3, 3, 3], 0.5).rate == 1 / 6  # ties are above no bar at their own height
