import math
from itertools import product

import numpy as np
import pytest

from intaglio.audit.queries.attack_accuracy import cloning_miss
from intaglio.audit.queries.audit import attack_records
from intaglio.audit.queries.methods.diffix_cloning import DiffixCloning, variance_threshold
from intaglio.audit.queries.query_engine import Answer, Secret
from intaglio.audit.queries.sticky_engine import StickyNoise
from intaglio.audit.queries.synthetic_records import SECRET, attribute_names, synthetic_records

SMALL = {"clones": 3}
BAD = {"clones": 1}
PIECES = {}

RECORD = {"a": "1", "b": "2"}


class Planted:
    """An engine with given differences by dummy, which are those of the pair without `b`; others are suppressed."""

    suppresses = True

    def __init__(self, differences):
        self.differences, self.dummies = differences, set()

    def count(self, conditions):
        if not any(one.column == "a" and one.sign == "=" for one in conditions):
            return Answer(None, "suppressed")
        (mark,) = {one for one in conditions if one.value.startswith("no such value")}
        self.dummies.add(mark.text)
        y = self.differences[len(self.dummies) - 1]
        return Answer(10.0 - y if any(one.sign == "!=" and one.value == "2" for one in conditions) else 10.0)


def test_clones_that_span_one_are_the_same_and_others_are_not():
    for planted, same in (([3, 3, 4, 4], True), ([3, 3, 4, 5], False), ([0, 0, 0, 9], False)):
        engine = Planted(planted)
        guess = DiffixCloning(clones=4)(engine, RECORD, Secret("s", "yes"))
        assert guess.value is same
        assert guess.log_odds == pytest.approx(-math.log(cloning_miss(4)) if same else -30)
        assert (len(engine.dummies), guess.queries, guess.suppressed) == (4, 9, 1), "dummies differ as text"


def test_no_whole_numbers_that_span_one_vary_more_than_the_threshold():
    """Over all of them, so that rounding of a constant difference never looks like two sets of records."""
    for k in range(2, 11):
        variances = [np.var(values, ddof=1) for values in product((0, 1), repeat=k)]
        assert max(variances) <= k / (4 * (k - 1)) + 1e-12
        assert variance_threshold(k) == k / (4 * (k - 1))


@pytest.mark.parametrize("seed", range(3))
def test_a_constant_difference_stays_within_the_threshold_whatever_the_noise(seed):
    random = np.random.default_rng(seed)
    shared, constant = random.normal(40, 3, (20_000, 10)), random.normal(0, 1.5, (20_000, 1))
    y = np.floor(shared + 0.5) - np.floor(shared - constant + 0.5)
    assert np.var(y, axis=1, ddof=1).max() <= variance_threshold(10) + 1e-12


@pytest.mark.parametrize(("clones", "known"), [(4, 0.9379), (10, 0.9992)])
def test_the_closed_form_of_the_accuracy(clones, known):
    """Against sums of the terms of noise that a dummy adds to both queries, drawn and rounded."""
    random, draws = np.random.default_rng(clones), 60_000
    static = random.normal(40, 3, (draws, 1)) + random.normal(size=(draws, clones))
    constant = random.normal(1, math.sqrt(10), (draws, 1))
    first, second = random.normal(size=(2, draws, clones))
    y = np.floor(static + first + 0.5) - np.floor(static - constant + second + 0.5)
    missed = float((np.var(y, axis=1, ddof=1) <= variance_threshold(clones) + 1e-12).mean())
    exact = cloning_miss(clones)
    assert missed == pytest.approx(exact, abs=3 * math.sqrt(exact * (1 - exact) / draws))
    assert DiffixCloning(clones=clones).expected_accuracy(5) == pytest.approx(known, abs=5e-5)
    plain = np.var(first - second, axis=1, ddof=1) <= variance_threshold(clones)
    exact = 2 - 2 * DiffixCloning(clones=clones).expected_accuracy(5, "unrounded")
    assert float(plain.mean()) == pytest.approx(exact, abs=3 * math.sqrt(exact * (1 - exact) / draws))


def test_the_accuracy_on_an_engine_is_that_of_the_closed_form():
    table, count = synthetic_records(200), 200
    found = attack_records(
        DiffixCloning(clones=4), table, SECRET, attribute_names(5), engine=StickyNoise("y"), records=count
    )
    known = DiffixCloning(clones=4).expected_accuracy(5)
    assert found.accuracy == pytest.approx(known, abs=3 * math.sqrt(known * (1 - known) / count))
    assert all(one.right for one in found.guesses if one.truth), "with the value a guess never errs"


def test_unrounded_clones_of_one_set_are_equal_up_to_rounding():
    table = synthetic_records(40, 3)
    engine = StickyNoise("z", rounded=False)
    found = attack_records(DiffixCloning(clones=4), table, SECRET, attribute_names(3), engine=engine, records=40)
    assert all(one.right for one in found.guesses if one.truth)
