import math

import numpy as np
import pytest

from intaglio.audit.queries.audit import attack_records
from intaglio.audit.queries.laplace_engine import LaplaceNoise
from intaglio.audit.queries.methods.averaging import Averaging
from intaglio.audit.queries.query_engine import Answer, Secret
from intaglio.audit.queries.sticky_engine import StickyNoise
from intaglio.audit.queries.synthetic_records import SECRET, attribute_names, synthetic_records

SMALL = {"repeats": 2}
BAD = {"repeats": 0}
PIECES = {}


class Planted:
    """An engine with a noise of its own for each answer, until it refuses."""

    suppresses = False

    def __init__(self, answers):
        self.answers = list(answers)

    def count(self, conditions):
        return Answer(self.answers.pop(0)) if self.answers else Answer(None, "refused")


def test_the_mean_of_the_answered_differences_is_compared_with_one_half():
    engine = Planted([10.0, 9.0, 12.0, 9.0, 10.0])
    guess = Averaging(repeats=5)(engine, {"a": "1", "b": "2"}, Secret("s", "yes"))
    assert guess.log_odds == pytest.approx((0.5 - (1 + 3) / 2) * 2 / 6)
    assert (guess.value, guess.queries, guess.refused) == (False, 6, 1)


def test_sticky_noise_makes_it_worth_a_single_difference():
    """Drawn and rounded, from the laws of one difference; and on the engine, where repeats change no guess."""
    random, draws, n = np.random.default_rng(0), 200_000, 5
    right, plain = [], []
    for mean, variance, positive in ((0, 2, False), (1, 2 * n + 2, True)):
        left = random.normal(50, 3, draws)
        added = random.normal(mean, math.sqrt(variance), draws)
        y = np.floor(left + 0.5) - np.floor(left - added + 0.5)
        right.append((y > 0.5) == positive)
        plain.append((added > 0.5) == positive)
    known = Averaging().expected_accuracy(n)
    assert np.concatenate(right).mean() == pytest.approx(known, abs=3 * math.sqrt(0.24 / (2 * draws)))
    assert known == pytest.approx(0.596, abs=5e-4)
    unrounded = Averaging().expected_accuracy(n, "unrounded")
    assert np.concatenate(plain).mean() == pytest.approx(unrounded, abs=3 * math.sqrt(0.24 / (2 * draws)))
    table = synthetic_records(100)
    once, often = (
        attack_records(Averaging(repeats=k), table, SECRET, attribute_names(n), engine=StickyNoise(), records=100)
        for k in (1, 5)
    )
    assert [one.value for one in once.guesses] == [one.value for one in often.guesses]


def test_fresh_noise_without_a_budget_is_averaged_out():
    """100 differences of scale 1 at each answer have a mean of N(s, 4/100): right with Phi(2.5) = 0.994."""
    table = synthetic_records(60, 1)
    endless = LaplaceNoise(epsilon=1.0, budget=math.inf)
    found = attack_records(Averaging(repeats=100), table, SECRET, attribute_names(1), engine=endless, records=60)
    assert found.accuracy > 0.95
