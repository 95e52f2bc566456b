"""Broken tables: each family breaks what it says, its graph is true, and tables are a function of the seed."""

import numpy as np
import pytest

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.simulate import assumption_breaks
from intaglio.causal.simulate.assumption_breaks import FAMILIES, draw_broken_table
from intaglio.causal.tables.gap_dependence import gap_dependences
from intaglio.causal.tables.repeated_rows import repeated_rows
from intaglio.causal.tables.row_dependence import row_dependence
from intaglio.causal.tables.row_trend import row_trend
from intaglio.errors import BadInput


def drawn(family: str, count: int = 20, columns: int = 6, rows: int = 400) -> list:
    return [draw_broken_table(family, np.random.default_rng([7, k]), columns, rows) for k in range(count)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_column_varies_and_the_graph_is_a_dag_over_them(family):
    for made in drawn(family, 5):
        assert made.values.shape == (400, 6)
        assert isinstance(made.graph, Graph)
        assert made.graph.kind == "DAG"
        for column, kind in zip(made.values.T, made.kinds, strict=True):
            known = np.unique(column[~np.isnan(column)])
            assert len(known) > 1
            assert kind == "continuous" or np.array_equal(known, np.arange(len(known)))
            assert (kind == "binary") <= (len(known) == 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_state_gives_the_same_table(family):
    one, two = (draw_broken_table(family, np.random.default_rng(3), 5, 200) for _ in range(2))
    assert np.array_equal(one.values, two.values, equal_nan=True)
    assert one.kinds == two.kinds
    assert np.array_equal(one.adjacency, two.adjacency)


BREAKS = {
    "serial": lambda made: row_dependence(made.values, made.kinds) is not None,
    "repeated": lambda made: repeated_rows(made.values, made.kinds) is not None,
    "near-repeats": lambda made: repeated_rows(made.values, made.kinds) is not None,
    "trends": lambda made: row_trend(made.values, made.kinds) is not None,
    "gaps": lambda made: bool(gap_dependences(made.values, made.kinds)),
}


@pytest.mark.parametrize("family", BREAKS)
def test_most_tables_break_what_the_family_says_and_some_do_not(family):
    broken = sum(BREAKS[family](made) for made in drawn(family))
    assert 7 <= broken < 20
    others = [made for name in ("factor", "cells") for made in drawn(name, 5)]
    assert sum(BREAKS[family](made) for made in others) <= 1


@pytest.mark.parametrize("family", BREAKS)
def test_sound_tables_of_a_family_keep_the_assumption(family, monkeypatch):
    monkeypatch.setattr(assumption_breaks, "SOUND_SHARE", 1.0)
    assert sum(BREAKS[family](made) for made in drawn(family)) <= 1


def test_a_hidden_factor_makes_columns_correlate_that_have_no_path():
    """Of tables of an empty graph, where independent columns have mean correlations of 0.04 or so."""
    empty, upper = np.zeros((6, 6), bool), np.triu_indices(6, 1)
    strong = 0
    for k in range(20):
        values, _ = FAMILIES["factor"](np.random.default_rng([1, k]), empty, 400)
        strong += np.abs(np.corrcoef(values.T)[upper]).mean() > 0.1
        values, _ = assumption_breaks._independent(np.random.default_rng([1, k]), empty, 400)
        assert np.abs(np.corrcoef(values.T)[upper]).mean() < 0.1
    assert 6 <= strong <= 18


def test_events_happen_through_their_causes_alone_as_a_noisy_or():
    """P(child | one parent) of a chain of two is 1 - (1 - own) (1 - works), and own where the parent stays away."""
    made = np.array([[0, 1], [0, 0]], bool)
    more = 0
    for k in range(10):
        values, kinds = FAMILIES["rare"](np.random.default_rng([2, k]), made, 20_000)
        assert kinds == ("binary", "binary")
        parent, child = values.T > 0
        if parent.sum() >= 50:
            assert child[parent].mean() > child[~parent].mean() + 0.1
            more += child[parent].mean() > 0.2 - 0.1
    assert more >= 5


def test_effects_are_lines_with_the_noise_of_the_parents_in_them():
    """An arrow makes its child correlate with the parent; without one there is the noise alone."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((3, 4000))
    made = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]], bool)
    found = assumption_breaks._effects(rng, made, noise)
    assert np.array_equal(found[[0, 2]], noise[[0, 2]])
    assert abs(np.corrcoef(found[0], found[1])[0, 1]) > 0.1
    assert abs(np.corrcoef(found[1], found[2])[0, 1]) < 0.06


def test_sizes_and_families_that_cannot_be_are_named(monkeypatch):
    rng = np.random.default_rng(0)
    with pytest.raises(BadInput, match=r"'odd' is no family of broken tables; there are serial"):
        draw_broken_table("odd", rng, 5, 100)
    with pytest.raises(BadInput, match="2 columns and 100 rows are too few"):
        draw_broken_table("rare", rng, 2, 100)
    monkeypatch.setitem(
        FAMILIES, "rare", lambda rng, made, rows: (np.zeros((rows, len(made))), ("binary",) * len(made))
    )
    with pytest.raises(BadInput, match=r"rare gives no table of 50 rows in which all 6 columns vary"):
        draw_broken_table("rare", rng, 6, 50)
