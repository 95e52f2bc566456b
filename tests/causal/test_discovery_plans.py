"""Plans of discovery: their parts, and that a time limit bounds them."""

import numpy as np
import pytest

from intaglio.causal.confounding.search_plan import within_limit
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.independence.variables import Variables
from intaglio.causal.methods.abic.method import ABIC
from intaglio.causal.methods.cd_nod.independence_plan import questions, seconds_of_tests
from intaglio.causal.methods.cd_nod.method import CDNOD
from intaglio.causal.methods.sicl.method import SiCL
from intaglio.causal.methods.spot.method import SPOT
from intaglio.causal.tables.table import Table


def table(rows=60):
    random = np.random.default_rng(1)
    a, b, c = random.standard_normal((3, rows))
    return Table.from_frame(np.column_stack([a, a + 0.5 * b, b + c]))


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        (SiCL(), {"the graph"}),
        (SiCL(subsamples=3), {"the graph", "subsamples"}),
        (ABIC(restarts=2, steps=5, stages=4), {"rounds", "graphs"}),
        (SPOT(restarts=2, steps=5, stages=4, half_samples=2), {"posterior", "rounds", "graphs", "halves"}),
        (CDNOD(test="partial-correlation"), {"tests"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_plan_names_the_parts_of_the_search(method, parts):
    found = method.planned(table(), knowledge=Knowledge())
    assert set(found.parts) == parts
    assert found.seconds > 0


def test_subsamples_count_each():
    few, many = (SiCL(subsamples=count).planned(table()).parts["subsamples"] for count in (5, 500))
    assert many > 20 * few, "a hundred times as many"


def test_a_time_limit_bounds_a_plan_and_parts_keep_their_shares():
    plan = within_limit({"rounds": 30.0, "graphs": 90.0}, 60.0, "columns    3")
    assert dict(plan.parts) == {"rounds": 15.0, "graphs": 45.0}
    assert plan.at_most
    assert "rough" in str(plan)
    assert within_limit({"rounds": 3.0}, 60.0, "").seconds == 3.0
    assert within_limit({}, 60.0, "").seconds == 0.0


class _Slow:
    """A test whose time is its number of calls in place of seconds."""

    def __init__(self, clock):
        self.clock = clock

    def p_values(self, pairs, given):
        self.clock[0] += len(pairs) * (1.0 + len(given))
        return np.zeros(len(pairs))


def test_every_level_counts_by_its_own_pace(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("intaglio.causal.methods.cd_nod.independence_plan.time.perf_counter", lambda: clock[0])
    asked = {0: [([(0, 1), (0, 2), (1, 2), (0, 3), (1, 3)], ())], 1: [([(0, 1)], (2,)), ([(0, 2)], (1,))] * 10}
    assert seconds_of_tests(_Slow(clock), asked) == 5 * 1.0 + 20 * 2.0
    assert seconds_of_tests(_Slow(clock), {}) == 0.0


def test_questions_are_those_of_the_skeleton_search():
    random = np.random.default_rng(0)
    constraints = Knowledge().constraints(("a", "b", "c", "d"))
    asked = questions(Variables(random.standard_normal((200, 4)), (0,) * 4), constraints, alpha=1e-9, depth=2)
    assert {level: sum(len(pairs) for pairs, _ in sets) for level, sets in asked.items()} == {0: 6}
