"""ABIC on planted graphs: hidden causes found, knowledge kept to, units without effect, bad columns named."""

import numpy as np
import pandas as pd
import pytest

from intaglio import ABIC, SPOT
from intaglio.causal.confounding import penalties, restart_search
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.tables.gaussian_columns import gaussian_columns
from intaglio.causal.tables.table import Table
from intaglio.errors import BadInput
from linear_admgs import VERMA, rows_of

SMALL = {"restarts": 3, "steps": 15, "stages": 4, "rounds": 1}
BAD = {"restarts": 0}
PIECES = {}
VARIANTS = {
    "bow-free": {"SMALL": {"admg_class": "bow-free"}, "BAD": {"steps": 0}, "PIECES": {}},
    "arid": {"SMALL": {"admg_class": "arid", "steps": 5}, "BAD": {"threshold": 0.0}, "PIECES": {}},
    "raw": {"SMALL": {"standardise": False}, "BAD": {"sparsity": -1.0}, "PIECES": {}},
}
QUICK = {"restarts": 3, "steps": 40, "stages": 8, "rounds": 2}


def truth(edges, names="abcd"):
    return ADMG.of(names, edges)


def found(edges, names="abcd", rows=1000, seed=0, table=None, **changes):
    given = rows_of(truth(edges, names), rows, seed) if table is None else table
    call = {key: changes.pop(key) for key in ("knowledge", "kinds") if key in changes}
    return ABIC(**{**QUICK, **changes})(given, **call)


def test_the_chain_with_a_hidden_cause_gives_its_pag():
    made = found(VERMA, rows=2000)
    assert made.graph == truth(VERMA).mag().pag()
    assert made.graph.kind == "PAG"


def test_a_hidden_cause_between_two_effects_is_told_from_an_arrow():
    """x → a ↔ b ← y: both marks are arrows, and no arrow between a and b could have made that."""
    edges = [("x", "-->", "a"), ("y", "-->", "b"), ("a", "<->", "b")]
    made = found(edges, "xyab", rows=2000, seed=1)
    assert {str(edge) for edge in made.edges} == {"x o-> a", "y o-> b", "a <-> b"}
    (double,) = (edge for edge in made.edges if edge.mark == "<->")
    assert double.p_source_arrow > 0.5
    assert double.p_target_arrow > 0.5


@pytest.mark.parametrize("kind", ["arid", "bow-free"])
def test_other_classes_find_a_collider_too(kind):
    edges = [("x", "-->", "a"), ("y", "-->", "a"), ("a", "-->", "b")]
    made = found(edges, "xyab", rows=2000, admg_class=kind, steps=15)
    assert made.graph == truth(edges, "xyab").mag().pag()
    assert [str(edge) for edge in made.edges if edge.visible] == ["a --> b"]


def test_units_do_not_matter():
    table = rows_of(truth(VERMA), 600)
    other = pd.DataFrame(
        {name: 3 + scale * table[name] for name, scale in zip("abcd", (1e-3, -40, 7, 1e5), strict=True)}
    )
    one, two = found(VERMA, table=table), found(VERMA, table=other)
    assert one.graph == two.graph
    assert np.array_equal(one.marks, two.marks)
    assert np.array_equal(one.adjacent, two.adjacent)


def test_without_standardisation_the_parameters_are_those_of_the_units_and_the_graph_is_found():
    edges = [("x", "-->", "a"), ("y", "-->", "a"), ("a", "-->", "b")]
    made = found(edges, "xyab", rows=1500, standardise=False)
    assert made.graph == truth(edges, "xyab").mag().pag()


def test_what_is_known_stands_in_the_graph():
    known = Knowledge(required=(("a", "b"),), forbidden=(("b", "c"), ("c", "b")))
    made = found([("a", "-->", "b"), ("b", "-->", "c")], "abc", knowledge=known)
    signs = {frozenset((edge.source, edge.target)): str(edge) for edge in made.edges}
    assert signs[frozenset("ab")] == "a --> b"
    assert signs[frozenset("bc")] == "b <-> c"
    apart = found([("a", "-->", "b"), ("b", "-->", "c")], "abc", knowledge=Knowledge(apart=(("a", "b"),)))
    assert frozenset("ab") not in {frozenset((edge.source, edge.target)) for edge in apart.edges}
    joined = found([("a", "-->", "b")], "abc", knowledge=Knowledge(adjacent=(("a", "c"),), forbidden=(("a", "c"),)))
    assert {"a", "c"} in [{edge.source, edge.target} for edge in joined.edges]
    assert joined.graph.marks[2, 0] == 2  # an arrow at a, since a → c may not be


def test_tiers_forbid_causes_that_come_later():
    made = found([("a", "-->", "b")], "ab", knowledge=Knowledge(tiers=(("a",), ("b",))))
    assert {str(edge) for edge in made.edges} == {"a o-> b"}


def test_no_edge_is_found_in_noise():
    noise = pd.DataFrame(np.random.default_rng(0).standard_normal((1000, 4)), columns=list("abcd"))
    assert found([], table=noise).edges == ()


def test_shares_are_one_where_all_restarts_agree():
    made = found([("a", "-->", "b")], "ab")
    assert made.edges[0].p_adjacent == pytest.approx(1.0)
    assert made.edges[0].p_marks == pytest.approx((1.0, 1.0))
    assert "no posterior" in made.reading
    assert np.isnan(made.ood_score)


def test_constant_and_repeated_columns_take_no_part():
    table = rows_of(truth(VERMA), 300).assign(one=1.0)
    table["copy"] = 2 * table["a"]
    made = found([], table=table)
    assert made.isolated == ("one",)
    assert made.duplicates == (("a", "copy"),)
    assert {"one", "copy"}.isdisjoint({name for edge in made.edges for name in (edge.source, edge.target)})


def test_linearly_dependent_columns_are_refused_by_their_names():
    table = rows_of(truth(VERMA), 300).assign(total=lambda t: t["a"] + t["c"])
    with pytest.raises(BadInput, match="a, c, total are linearly dependent"):
        found([], table=table)


def test_levels_without_order_and_missing_cells_are_refused_by_their_names():
    table = rows_of(truth(VERMA), 300)
    with pytest.raises(BadInput, match="town: levels without an order"):
        found([], table=table.assign(town=np.resize(["x", "y", "z"], 300)))
    table.loc[:4, "c"] = np.nan
    with pytest.raises(BadInput, match=r"missing cells in c \(5\)"):
        found([], table=table)


@pytest.mark.parametrize("unit", [1e-300, 1e300, 2.0**-40])
def test_units_near_the_ends_of_floats_change_nothing(unit):
    table = rows_of(truth(VERMA), 200)
    usual = gaussian_columns(Table.from_frame(table), True)
    other = gaussian_columns(Table.from_frame(table.assign(b=table["b"] * unit)), True)
    assert np.allclose(other.covariance, usual.covariance, atol=1e-9)
    assert other.scales.tolist() == [1.0] * 4


def test_fewer_rows_than_columns_heavy_tails_and_levels_are_warned_of():
    few = pd.DataFrame(np.random.default_rng(1).standard_normal((10, 11))).add_prefix("v")
    told = found([], table=few, **{**SMALL, "restarts": 1, "sweeps": 0, "threshold": 0.5}).warnings
    assert any("10 rows are no more than the 11 columns" in warning for warning in told)
    heavy = rows_of(truth(VERMA), 400)
    heavy["b"] = np.sign(heavy["b"]) * np.abs(heavy["b"]) ** 5
    heavy["c"] = (heavy["c"] > 0).astype(int)
    warnings = found([], table=heavy, **SMALL).warnings
    assert any(warning.startswith("heavy tails in b (") for warning in warnings)
    assert any("levels are taken for numbers with linear effects: c" in warning for warning in warnings)


def test_restarts_share_the_time_that_is_left(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(restart_search.time, "monotonic", lambda: clock[0])
    budget = restart_search.SearchBudget(restarts=3, searched=3, sweeps=1, time_limit=100.0, seed=0)
    search = object.__new__(restart_search.RestartSearch)
    search.budget, search.before, search.began, search.late = budget, 10.0, 0.0, False
    first = search._share_of_time(3)  # 90 seconds are left
    clock[0] = 30.0
    assert first()
    clock[0] = 31.0
    assert not first()
    assert search.late
    last = search._share_of_time(1)  # 59
    clock[0] = 89.0
    assert last()
    clock[0] = 91.0
    assert not last()


def test_the_time_limit_ends_the_search_with_a_graph_and_says_so():
    made = found(VERMA, time_limit=1e-6)
    assert any("the time limit of 1e-06 s" in warning for warning in made.warnings)
    assert made.graph.kind == "PAG"


def test_arid_graphs_are_searched_over_few_columns_only():
    wide = pd.DataFrame(np.random.default_rng(1).standard_normal((60, penalties.ARID_COLUMNS + 1))).add_prefix("v")
    with pytest.raises(BadInput, match="arid graphs are searched over 12 columns"):
        found([], table=wide, admg_class="arid")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("stages", 31), ("rounds", 0), ("sweeps", -1), ("time_limit", 0.0), ("extra_pairs", -0.5), ("seed", -1)],
)
def test_settings_out_of_range_are_refused_by_name(setting, value):
    with pytest.raises(ValueError, match=setting):
        ABIC(**{setting: value})


@pytest.mark.parametrize("method", [ABIC, SPOT])
@pytest.mark.parametrize("value", [0.0, float("inf"), float("nan")])
def test_a_time_limit_that_is_none_is_refused_with_what_to_take(method, value):
    with pytest.raises(ValueError, match=f"seconds above 0 and finite, not {value}; for no limit take a large one"):
        method(time_limit=value)
    assert method(time_limit=1e9).time_limit == 1e9


def test_two_graphs_that_fit_alike_are_told():
    from intaglio.causal.confounding.class_repair import Edges
    from intaglio.causal.results.latent_discovery import discovery_of

    table = Table.from_frame(rows_of(truth([("a", "-->", "b")], "abc"), 100))
    none = np.zeros((3, 3), bool)
    one, two = none.copy(), none.copy()
    one[0, 1], two[1, 2] = True, True
    known = Knowledge().constraints("abc", hidden_causes=True)
    made = discovery_of("abic", table, [(10.0, Edges(one, none)), (11.5, Edges(two, none))], known, ())
    assert any("another graph fits all but as well (BIC higher by 1.5)" in warning for warning in made.warnings)
    assert [str(edge) for edge in made.edges] == ["a o-o b"]
    assert made.near_misses()[0].p_adjacent == pytest.approx(1 / (1 + np.exp(0.75)))


@pytest.mark.parametrize(
    ("bics", "ends", "warned"),
    [
        ((10.0, 38.4, 50.0), (0, 1, 1), True),
        ((10.0, 10.0, 50.0), (0, 0, 1), False),
        ((10.0, 14.0, 50.0), (0, 0, 1), False),
        ((10.0, 11.5, 50.0), (0, 1, 1), False),
    ],
)
def test_a_graph_that_one_restart_alone_ended_at_is_told(bics, ends, warned):
    from intaglio.causal.confounding.class_repair import Edges
    from intaglio.causal.results.latent_discovery import discovery_of

    table = Table.from_frame(rows_of(truth([("a", "-->", "b")], "abc"), 100))
    none = np.zeros((3, 3), bool)
    one, two = none.copy(), none.copy()
    one[0, 1], two[1, 2] = True, True
    graphs = [(bic, Edges((one, two)[end], none)) for bic, end in zip(bics, ends, strict=True)]
    made = discovery_of("abic", table, graphs, Knowledge().constraints("abc", hidden_causes=True), ())
    told = [warning for warning in made.warnings if "1 of 3 restarts alone" in warning]
    assert bool(told) == warned
    assert not warned or "(BIC of the next higher by 28.4)" in told[0]
