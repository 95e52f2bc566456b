import math

import numpy as np
import pytest
from scipy.stats import ncx2, norm

from intaglio.audit.queries.attack_accuracy import difference_accuracy
from intaglio.audit.queries.audit import attack_records
from intaglio.audit.queries.methods.diffix_difference import DiffixDifference
from intaglio.audit.queries.query_engine import Answer, Condition, Secret
from intaglio.audit.queries.sticky_engine import StickyNoise
from intaglio.audit.queries.synthetic_records import SECRET, attribute_names, synthetic_records

SMALL = {"most": 2}
BAD = {"most": 0}
PIECES = {}


class Planted:
    """An engine with given differences by the attribute that is left out; None for a pair that is suppressed."""

    suppresses = True

    def __init__(self, differences):
        self.differences, self.asked = differences, []

    def count(self, conditions):
        self.asked.append(tuple(conditions))
        unlike = [one.column for one in conditions if one.sign == "!=" and one.column != "s"]
        known = {one.column for one in conditions if one.sign == "="}
        (left_out,) = set(self.differences) - known
        y = self.differences[left_out]
        if y is None:
            return Answer(None, "suppressed")
        return Answer(100.0 - y if unlike else 100.0)


RECORD = {"a": "1", "b": "2", "c": "3"}


def test_the_log_odds_are_the_ratio_of_two_normal_densities():
    engine, n = Planted({"a": 1.5, "b": None, "c": -4.0}), 3
    guess = DiffixDifference()(engine, RECORD, Secret("s", "yes"))
    by_hand = sum(norm.logpdf(y, 0, math.sqrt(2)) - norm.logpdf(y, 1, math.sqrt(2 * n + 2)) for y in (1.5, -4.0))
    assert guess.log_odds == pytest.approx(by_hand)
    assert (guess.value, guess.queries, guess.suppressed, guess.refused) == (by_hand > 0, 5, 1, 0)
    assert engine.asked[0] == (Condition("b", "=", "2"), Condition("c", "=", "3"), Condition("s", "!=", "yes"))
    assert engine.asked[1] == (*engine.asked[0], Condition("a", "!=", "1"))
    assert DiffixDifference(most=1)(engine, RECORD, Secret("s", "yes")).queries == 2


def test_without_an_answer_a_coin_is_thrown():
    engine = Planted(dict.fromkeys(RECORD))
    guesses = [DiffixDifference(seed=seed)(engine, RECORD, Secret("s", "yes")) for seed in range(40)]
    assert not any(one.informed for one in guesses)
    assert 8 < sum(one.value for one in guesses) < 32
    assert guesses[0] == DiffixDifference(seed=0)(engine, dict(reversed(RECORD.items())), Secret("s", "yes"))


@pytest.mark.parametrize(("pairs", "unrounded", "rounded"), [(5, 0.921, 0.913), (4, 0.895, 0.887)])
def test_the_closed_forms_of_the_accuracy(pairs, unrounded, rounded):
    """Against the noncentral chi-squared, differences drawn from the two laws, and the figures known."""
    n = 5
    tau = (4 * n + 4) / n * (pairs / 2 * math.log(n + 1) + pairs / (4 * n))
    has = ncx2.cdf(tau / 2, pairs, pairs / (2 * n**2))
    lacks = ncx2.sf(tau / (2 * n + 2), pairs, pairs * (1 + 1 / n) ** 2 / (2 * n + 2))
    assert (has + lacks) / 2 == pytest.approx(unrounded, abs=5e-4)
    assert DiffixDifference(most=pairs).expected_accuracy(n) == pytest.approx(rounded, abs=5e-4)
    random, draws = np.random.default_rng(pairs), 40_000
    right = []
    for mean, variance, positive in ((0, 2, False), (1, 2 * n + 2, True)):
        left = random.normal(50, 3, (draws, pairs))
        right_side = left - random.normal(mean, math.sqrt(variance), (draws, pairs))
        for y in (left - right_side, np.floor(left + 0.5) - np.floor(right_side + 0.5)):
            right.append((((y + 1 / n) ** 2).sum(1) > tau) == positive)
    for found, known in (((right[0], right[2]), unrounded), ((right[1], right[3]), rounded)):
        error = 3 * math.sqrt(known * (1 - known) / (2 * draws))
        assert np.concatenate(found).mean() == pytest.approx(known, abs=error + 5e-4)


@pytest.mark.parametrize(("noise", "known"), [({}, 0.913), ({"rounded": False}, 0.921)])
def test_the_accuracy_on_an_engine_is_that_of_the_closed_form(noise, known):
    table, count = synthetic_records(200), 200
    found = attack_records(
        DiffixDifference(), table, SECRET, attribute_names(5), engine=StickyNoise("x", **noise), records=count
    )
    assert found.accuracy == pytest.approx(known, abs=3 * math.sqrt(known * (1 - known) / count))
    assert found.queries == 10
    assert found.expected == pytest.approx(known, abs=5e-4)


@pytest.mark.parametrize(("n", "pairs"), [(1, 1), (1, 2), (2, 2), (5, 2)])
def test_the_rounded_closed_form_is_that_of_all_whole_differences(n, pairs):
    """Each y is i with the mean of max(0, 1 - |i - d|) over the normal d, here by a sum over a fine grid."""
    tau = (4 * n + 4) / n * (pairs / 2 * math.log(n + 1) + pairs / (4 * n))
    whole, right = np.arange(-30, 31), 0.0
    for mean, variance, positive in ((0, 2, False), (1, 2 * n + 2, True)):
        d = np.linspace(mean - 8 * math.sqrt(variance), mean + 8 * math.sqrt(variance), 4001)
        weights = norm.pdf(d, mean, math.sqrt(variance)) * (d[1] - d[0])
        chances = np.maximum(0, 1 - np.abs(whole[:, None] - d)) @ weights
        squares = (whole + 1 / n) ** 2
        if pairs == 2:
            chances, squares = np.outer(chances, chances), squares[:, None] + squares
        right += chances[(squares > tau) == positive].sum() / 2
    assert difference_accuracy(n, pairs) == pytest.approx(right, abs=1e-6)
