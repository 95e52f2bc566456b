import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.audit.membership.combination import combine, combined_rank_test
from intaglio.audit.membership.verdict import judge, judge_combined, separation_of
from intaglio.runs.tables import without_nan


def named(count, letter):
    return [f"{letter}{i}" for i in range(count)]


def test_a_verdict_by_hand():
    found = judge(named(4, "q"), [9.5, 8.5, 3.0, math.nan], named(9, "c"), list(range(1, 10)), fpr=0.1)
    assert [row.p_value for row in found.rows[:3]] == [0.1, 0.2, 0.8]
    assert [row.called for row in found.rows] == [True, False, False, None]
    assert found.threshold.value == 9
    assert found.threshold.interval[1] == pytest.approx(1 - 0.025 ** (1 / 9))
    assert found.rows[0].words.startswith("in the set")
    assert found.rows[3].words.startswith("no score")
    assert "1 of 3 pictures" in found.statement
    assert [row.called for row in found.controls] == [False] * 9
    json.dumps(without_nan(found.to_dict()), allow_nan=False)


def test_a_two_sided_verdict_by_hand():
    """39 controls 1 to 39: only scores outside all of them have p = 2/40."""
    controls = list(range(1, 40))
    found = judge(named(5, "q"), [50, -50, 38.5, 20, math.nan], named(39, "c"), controls, fpr=0.05, sides="both")
    assert [row.p_value for row in found.rows[:4]] == [2 / 40, 2 / 40, 4 / 40, 1]
    assert [row.called for row in found.rows] == [True, True, False, False, None]
    assert [row.words for row in found.rows[:2]] == [
        "in the set, above the upper threshold (p = 0.05)",
        "in the set, below the lower threshold (p = 0.05)",
    ]
    assert found.threshold.bounds == (1, 39)
    assert "(0 beyond the two thresholds;" in found.statement
    upper = judge(named(2, "q"), [50, -50], named(39, "c"), controls, fpr=0.05)
    assert [row.called for row in upper.rows] == [True, False]
    assert found.evidence(found.rows)[0] == found.evidence(found.rows)[1] > found.evidence(found.rows)[2]
    assert upper.evidence(upper.rows) == [50, -50]
    json.dumps(without_nan(found.to_dict()), allow_nan=False)


def test_a_set_that_scores_lower_counts_where_both_sides_do():
    low = [-1.0 - k for k in range(6)]
    both = judge(named(6, "q"), low, named(20, "c"), list(range(20)), fpr=0.1, sides="both")
    assert both.set_test.p_value == pytest.approx(2 / math.comb(26, 6)) == pytest.approx(both.set_test.smallest)
    assert judge(named(6, "q"), low, named(20, "c"), list(range(20)), fpr=0.1).set_test.p_value == 1


def test_controls_are_judged_against_the_rest_by_both_sides():
    """Of 40, each against 39: the lowest and the highest are called, at 5%."""
    found = judge([], [], named(40, "c"), list(range(40)), fpr=0.05, sides="both")
    assert [row.name for row in found.controls if row.p_value <= 0.05] == ["c0", "c39"]


def test_the_two_sided_rate_holds_for_pictures_like_the_controls():
    drawn = np.random.default_rng(0).exponential(size=(200, 40))
    calls = [judge(["q"], row[:1], named(39, "c"), row[1:], fpr=0.2, sides="both").rows[0].called for row in drawn]
    assert np.mean(calls) == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / 200))


def test_too_few_controls_is_said_and_nothing_is_called():
    found = judge(["q"], [1e9], named(8, "c"), list(range(8)), fpr=0.1)
    assert found.rows[0].called is None
    assert "too few controls" in found.rows[0].words
    assert found.rows[0].p_value == pytest.approx(1 / 9)
    assert any("needs at least 9 controls, there are 8" in warning for warning in found.warnings)
    assert found.statement == found.threshold.statement


@pytest.mark.parametrize("controls", [[], [math.nan]])
def test_no_controls_give_no_verdict_and_no_exception(controls):
    found = judge(["q"], [1.0], named(len(controls), "c"), controls)
    assert found.rows[0].called is None
    assert found.set_test.p_value is None


def test_failed_controls_are_left_out_with_a_warning():
    found = judge(["q"], [30.0], named(20, "c"), [*range(19), math.nan], fpr=0.05)
    assert found.threshold.controls == 19
    assert any("c19" in warning for warning in found.warnings)
    assert found.rows[0].called is True


def test_the_rate_holds_for_pictures_like_the_controls():
    generator = np.random.default_rng(0)
    calls = [
        judge(["q"], scores[:1], named(39, "c"), scores[1:], fpr=0.1).rows[0].called
        for scores in generator.exponential(size=(200, 40))
    ]
    assert np.mean(calls) == pytest.approx(0.1, abs=4 * math.sqrt(0.1 * 0.9 / 200))


def test_evaluation_with_known_labels():
    found = separation_of(np.arange(30) + 15, np.arange(30))
    assert found.auc == pytest.approx(1 - 15 * 14 / 2 / 900 - 0.5 * 15 / 900)
    assert found.tpr_at_fpr[0.01] is None
    assert found.tpr_at_fpr[0.05] == pytest.approx(16 / 30)


# Several signals at once


def signals(rows):
    return {"a": rows[:, 0], "b": rows[:, 1], "c": rows[:, 2]}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 9))
def test_the_p_value_of_an_exchangeable_picture_is_uniform_by_construction(seed, count):
    """Of n+1 pictures, each tested against the others, the p-values are exactly the ranks of one set of sums."""
    rows = np.random.default_rng(seed).normal(size=(count + 1, 3)) @ np.array([[1, 0.8, 0], [0, 1, 0], [0, 0.3, 1]])
    p = []
    for i in range(count + 1):
        rest = np.delete(rows, i, 0)
        p.append(Fraction(combine(signals(rows[i : i + 1]), signals(rest)).p_values[0]).limit_denominator(1000))
    assert sorted(p) == [Fraction(k, count + 1) for k in range(1, count + 2)]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 9))
def test_folded_signals_leave_the_p_value_uniform_by_construction(seed, count):
    rows = np.random.default_rng(seed).standard_t(3, size=(count + 1, 3))
    p = []
    for i in range(count + 1):
        rest = np.delete(rows, i, 0)
        found = combine(signals(rows[i : i + 1]), signals(rest), ("b", "c"))
        p.append(Fraction(found.p_values[0]).limit_denominator(1000))
    assert sorted(p) == [Fraction(k, count + 1) for k in range(1, count + 2)]


def test_a_folded_signal_counts_by_its_distance_from_the_middle_of_all():
    """One signal alone, by hand: controls 1, 2, 4, 8 with -6 have the median 2, from which it lies furthest."""
    found = combine({"x": [-6.0]}, {"x": [1.0, 2.0, 4.0, 8.0]}, ("x",))
    away = np.array([1.0, 0.0, 2.0, 6.0, 8.0])
    assert found.p_values.tolist() == [1 / 5]
    assert found.scores[0] == pytest.approx((8 - away.mean()) / away.std())
    controls = np.abs(np.array([1.0, 2.0, 4.0, 8.0]) - 3)
    assert found.controls == pytest.approx((controls - controls.mean()) / controls.std())
    assert combine({"x": [-6.0]}, {"x": [1.0, 2.0, 4.0, 8.0]}).p_values.tolist() == [1.0]


def test_a_combined_verdict_sees_members_on_either_side_of_a_folded_signal():
    generator = np.random.default_rng(2)
    tested, controls = generator.normal(size=(16, 2)), generator.normal(size=(30, 2))
    tested[:8, 0] -= 5
    tested[8:, 0] += 5
    names = named(16, "q"), named(30, "c")
    two = [{"a": rows[:, 0], "b": rows[:, 1]} for rows in (tested, controls)]
    found = judge_combined(names[0], two[0], names[1], two[1], fpr=0.05, folded=("a",))
    assert sum(row.called for row in found.rows[:8]) >= 6
    assert sum(row.called for row in found.rows[8:]) >= 6
    assert found.set_test.p_value < 1e-4
    assert found.threshold.sides == "upper"
    plain = judge_combined(names[0], two[0], names[1], two[1], fpr=0.05)
    assert not any(row.called for row in plain.rows[:8])


def test_the_combined_score_by_hand_for_one_signal_is_its_rank():
    controls = np.array([1.0, 2.0, 4.0, 8.0])
    found = combine({"x": [3.0, 9.0, math.nan]}, {"x": controls})
    assert found.p_values[:2].tolist() == [3 / 5, 1 / 5]
    assert math.isnan(found.p_values[2])
    z = (np.append(controls, 9.0) - np.mean([*controls, 9.0])) / np.std([*controls, 9.0])
    assert found.scores[1] == pytest.approx(z[-1])
    assert found.controls == pytest.approx((controls - controls.mean()) / controls.std())
    assert found.weights == {"x": 1.0}


def test_signals_that_say_the_same_share_one_vote():
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 400))
    nearly = one + 0.01 * generator.normal(size=400)
    found = combine({"x": [0.0], "y": [0.0], "z": [0.0]}, {"x": one, "y": nearly, "z": other})
    weights = found.weights
    assert weights["x"] + weights["y"] == pytest.approx(0.5, abs=0.02)
    assert weights["x"] == pytest.approx(weights["y"], rel=0.05)
    assert sum(weights.values()) == pytest.approx(1)
    by_hand = np.corrcoef([one, nearly, other])
    shrink = 4 / 400
    by_hand = (1 - shrink) * by_hand + shrink * np.eye(3)
    expected = np.linalg.solve(by_hand, np.ones(3))
    assert list(weights.values()) == pytest.approx(expected / expected.sum())


def test_units_do_not_matter_and_constant_signals_do_not_vote():
    generator = np.random.default_rng(1)
    tested, controls = generator.normal(size=(5, 3)) + 1, generator.normal(size=(20, 3))
    plain = combine(signals(tested), signals(controls))
    scale, shift = np.array([1e-3, 1.0, 50.0]), np.array([5.0, -2.0, 0.0])
    other = combine(signals(tested * scale + shift), signals(controls * scale + shift))
    np.testing.assert_allclose(plain.scores, other.scores)
    np.testing.assert_array_equal(plain.p_values, other.p_values)
    still = combine({**signals(tested), "d": [0.1] * 5}, {**signals(controls), "d": [0.1] * 20})
    assert still.scores == pytest.approx(combine(signals(tested), signals(controls)).scores, rel=0.3)
    assert np.isfinite(still.scores).all()


def test_several_weak_signals_are_stronger_together():
    generator = np.random.default_rng(3)
    tested, controls = generator.normal(size=(60, 3)) + 0.9, generator.normal(size=(60, 3))
    holdouts = generator.normal(size=(60, 3))
    together = combine(signals(tested), signals(controls)).scores, combine(signals(holdouts), signals(controls)).scores
    alone = max(separation_of(tested[:, k], holdouts[:, k]).auc for k in range(3))
    assert separation_of(*together).auc > alone


def test_the_combined_rate_holds_with_as_many_signals_as_controls_allow():
    """With means, deviations and weights of the nine controls alone, 13.7% of 3000 draws were called, not 10%."""
    generator = np.random.default_rng(5)
    calls = []
    for _ in range(300):
        rows = generator.standard_t(3, size=(10, 3))
        calls.append(combine(signals(rows[:1]), signals(rows[1:])).p_values[0] <= 0.1)
    assert np.mean(calls) == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / 300))


def test_the_combined_verdict_calls_by_p_value_and_never_below_its_threshold():
    generator = np.random.default_rng(2)
    tested = np.vstack([generator.normal(size=(8, 3)) + 3, generator.normal(size=(8, 3))])
    controls = generator.normal(size=(30, 3))
    found = judge_combined(named(16, "q"), signals(tested), named(30, "c"), signals(controls), fpr=0.05)
    calls = [row.called for row in found.rows]
    assert sum(calls[:8]) >= 6
    assert sum(calls[8:]) <= 2
    for row in found.rows:
        if row.called:
            assert row.p_value <= 0.05
            assert row.score > found.threshold.value
    assert found.set_test.p_value < 0.01
    assert set(found.weights) == {"a", "b", "c"}


def test_the_set_test_of_several_signals_is_exact_under_exchange():
    rows = np.random.default_rng(4).normal(size=(6, 2))
    from itertools import combinations

    p = []
    for chosen in combinations(range(6), 2):
        rest = [i for i in range(6) if i not in chosen]
        two = [{"a": rows[list(pick), 0], "b": rows[list(pick), 1]} for pick in (chosen, rest)]
        p.append(combined_rank_test(*two).p_value)
    for level in (1 / 15, 0.2, 0.4):
        assert np.mean([value <= level + 1e-9 for value in p]) <= level + 1e-9


def test_signals_must_be_the_same_for_both():
    with pytest.raises(ValueError, match="same signals"):
        combine({"a": [1.0]}, {"b": [1.0]})
    with pytest.raises(ValueError, match="same signals"):
        combine({}, {})
