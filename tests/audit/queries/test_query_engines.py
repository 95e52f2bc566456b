"""Engines with sticky and with Laplace noise: what their noise follows from, its laws, and what is not answered."""

import math
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import kstest, laplace

from intaglio.audit.queries.asked_queries import AskedQueries, QueryPair, dummy, seems_unique
from intaglio.audit.queries.attack_accuracy import budget_bound
from intaglio.audit.queries.laplace_engine import LaplaceNoise
from intaglio.audit.queries.query_engine import Answer, Condition, EngineSettings, QueryEngine, Secret
from intaglio.audit.queries.record_table import RecordTable
from intaglio.audit.queries.sticky_engine import StickyNoise
from intaglio.audit.queries.synthetic_records import ALIKE, SECRET, attribute_names, synthetic_records
from intaglio.errors import BadInput

MANY = RecordTable.of({"a": [str(k % 5) for k in range(400)], "b": [str(k % 7) for k in range(400)]})
EXACT = StickyNoise(rounded=False)
A, B = Condition("a", "=", "3"), Condition("b", "!=", "6")


def noise_of(settings, table, *conditions):
    """The noise of an answer, by the true count."""
    met = np.ones(len(table), bool)
    for one in conditions:
        having = np.array([table.record(k, [one.column])[one.column] == one.value for k in range(len(table))])
        met &= having if one.sign == "=" else ~having
    return settings.open(table, "x").count(conditions).value - met.sum()


@pytest.mark.parametrize("settings", [StickyNoise(), EXACT])
def test_the_same_query_has_the_same_answer_in_any_order_and_from_any_asker(settings):
    asked = (A, B, dummy("a", 1), dummy("a", 2))
    answers = {settings.open(MANY, f"asker {k}").count(order) for k, order in enumerate(permutations(asked))}
    answers.add(settings.open(MANY, "").count([*asked, A, B]))
    assert len(answers) == 1
    assert settings.open(MANY, "").count(asked) != settings.open(MANY, "").count(asked[:3])
    assert EXACT.open(MANY, "").count([A]) != StickyNoise("1", rounded=False).open(MANY, "").count([A])


def test_an_answer_is_the_count_rounded_to_the_nearest():
    noise = noise_of(EXACT, MANY, A, B)
    assert noise_of(StickyNoise(), MANY, A, B) == pytest.approx(math.floor(noise + 0.5))
    assert float(StickyNoise().open(MANY, "").count([A, B]).value).is_integer()


def test_static_noise_follows_from_the_condition_and_dynamic_noise_from_the_records_too():
    """A condition that all meet adds N(0, 2); under two sets of records its static half is the same."""
    engine = EXACT.open(MANY, "")
    added = {name: [] for name in ("one", "two")}
    for number in range(2000):
        for name, first in (("one", A), ("two", B)):
            added[name].append(engine.count([first, dummy("a", number)]).value - engine.count([first]).value)
    for values in added.values():
        assert kstest(values, "norm", args=(0, math.sqrt(2))).pvalue > 0.001
    assert np.corrcoef(added["one"], added["two"])[0, 1] == pytest.approx(0.5, abs=3 * 0.75 / math.sqrt(2000))


def test_a_pair_over_equal_records_differs_by_two_terms_alone_and_over_others_by_all():
    """y ~ N(0, 2) and N(1, 2n + 2), over salts."""
    columns = {"a": ["x"] + ["y"] * 30, "b": ["1"] * 31, "s": ["1"] + ["0"] * 30}
    having, lacking = RecordTable.of(columns), RecordTable.of({**columns, "s": ["0"] * 31})
    pair = QueryPair({"a": "x", "b": "1"}, "a", Secret("s", "1"))
    for table, mean, variance in ((having, 0, 2), (lacking, 1, 6)):
        y = [
            AskedQueries(StickyNoise(str(salt), rounded=False).open(table, "")).difference(pair) for salt in range(600)
        ]
        assert kstest(y, "norm", args=(mean, math.sqrt(variance))).pvalue > 0.001


def test_few_records_are_not_counted_by_a_threshold_of_four_and_a_half_sd():
    sizes = RecordTable.of({"a": [str(size) for size in range(1, 8) for _ in range(size)]})
    shares = []
    for size in range(8):
        answers = [
            StickyNoise(str(salt)).open(sizes, "").count([Condition("a", "=", str(size))]) for salt in range(300)
        ]
        assert {one.why for one in answers if one.value is None} <= {"suppressed"}
        shares.append(sum(one.value is None for one in answers) / 300)
    assert shares[:3] == [1, 1, 1]
    assert shares[3] == pytest.approx(0.977, abs=0.03)
    assert shares[4] == pytest.approx(0.5, abs=0.09)
    assert shares[5] == pytest.approx(0.023, abs=0.03)
    assert shares[6:] == [0, 0]
    assert (
        StickyNoise(threshold=0.0, threshold_sd=0.0).open(sizes, "").count([Condition("a", "=", "2")]).value is not None
    )


def test_uniqueness_is_asked_of_the_engine_that_suppresses():
    table = synthetic_records(4, 2)
    alone = table.unique(attribute_names(2))
    assert (alone.sum(), len(table)) == (4, 4 * (1 + 2 * ALIKE))
    for row in (*np.flatnonzero(alone).tolist(), *np.flatnonzero(~alone)[:8].tolist()):
        asked = AskedQueries(StickyNoise().open(table, ""))
        assert seems_unique(asked, table.record(row, attribute_names(2))) is bool(alone[row])
        assert asked.queries == 1
    asked = AskedQueries(LaplaceNoise().open(table, ""))
    assert (seems_unique(asked, table.record(0, attribute_names(2))), asked.queries) == (None, 0)
    assert sorted(table.record(row, [SECRET.column])[SECRET.column] for row in np.flatnonzero(alone).tolist()) == list(
        "0011"
    )


def test_laplace_noise_is_fresh_has_its_scale_and_ends_with_the_budget():
    engine = LaplaceNoise(epsilon=0.5, budget=math.inf).open(MANY, "x")
    noise = [engine.count([A]).value - 80 for _ in range(2000)]
    assert kstest(noise, laplace(scale=2).cdf).pvalue > 0.001
    for epsilon, budget, answers in ((0.1, 1.0, 10), (0.1, 0.3, 3), (0.3, 1.0, 3), (1.0, 1.0, 1)):
        spent = LaplaceNoise(epsilon=epsilon, budget=budget).open(MANY, "x")
        given = [spent.count([A]) for _ in range(answers + 3)]
        assert [one.why for one in given] == [""] * answers + ["refused"] * 3
    one, same, other = (LaplaceNoise().open(MANY, asker).count([A]) for asker in ("x", "x", "y"))
    assert one == same != other


def test_the_bound_of_a_budget_is_reached_by_randomised_response():
    """A bit that is told truly with e^B / (1 + e^B) has a ratio of likelihoods of e^B, and no more is allowed."""
    right = budget_bound(1.5)
    assert right / (1 - right) == pytest.approx(math.exp(1.5))
    assert LaplaceNoise(budget=1.5).bound == right
    assert LaplaceNoise(budget=math.inf).bound is None
    assert LaplaceNoise(budget=math.inf).to_dict()["budget"] is None


def test_engines_fulfil_one_contract_and_refuse_wrong_settings():
    for settings in (StickyNoise(), LaplaceNoise()):
        assert isinstance(settings, EngineSettings)
        engine = settings.open(MANY, "x")
        assert isinstance(engine, QueryEngine)
        assert isinstance(engine.count([A]), Answer)
        with pytest.raises(BadInput, match="no column 'z'; choose from: a, b"):
            engine.count([Condition("z", "=", "1")])
    for kind, setting, value in (
        (StickyNoise, "threshold", -1.0),
        (StickyNoise, "threshold_sd", math.inf),
        (LaplaceNoise, "epsilon", 0.0),
        (LaplaceNoise, "budget", 0.05),
        (LaplaceNoise, "budget", math.nan),
    ):
        with pytest.raises(ValueError, match=f"{setting} must"):
            kind(**{setting: value})
