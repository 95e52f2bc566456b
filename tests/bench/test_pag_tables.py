"""Tables with known PAGs: truths derived apart from the code, hidden nodes of networks, streams of random numbers."""

import numpy as np
import pytest

from intaglio.bench.discover.published_networks import BayesianNetwork, ConditionalLaw, networks_folder
from intaglio.bench.latent import pag_tables as room
from intaglio.bench.latent.pag_tables import PagCell, network_cells, pag_tables, simulated_cells, with_hidden_nodes
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.simulate.latent_models import LatentRecipe, draw_latent_model
from intaglio.errors import BadInput

STAR = BayesianNetwork(
    ("hub", "left", "right", "below"),
    ((),) * 4,
    (
        ConditionalLaw((), np.array([0.0]), 1.0),
        ConditionalLaw((0,), np.array([100.0, 2.0]), 0.1),
        ConditionalLaw((0,), np.array([200.0, -2.0]), 0.1),
        ConditionalLaw((2,), np.array([300.0, 1.0]), 0.1),
    ),
)
"""hub → left, hub → right → below: the hub alone has two children, and each intercept tells its variable."""


def test_a_network_loses_its_hub_and_columns_keep_their_names():
    for seed in range(5):
        graph, values = with_hidden_nodes(STAR, np.random.default_rng(seed), 500)
        assert sorted(graph.names) == ["below", "left", "right"]
        means = dict(zip(graph.names, values.mean(0), strict=True))
        assert means["left"] == pytest.approx(100, abs=1)
        assert means["right"] == pytest.approx(200, abs=1)
        correlation = np.corrcoef(values[:, [graph.names.index(name) for name in ("left", "right")]].T)
        assert correlation[0, 1] < -0.9, "the hidden hub still acts on both"
        expected = Graph.of("PAG", ("left", "right", "below"), [("left", "o-o", "right"), ("right", "o-o", "below")])
        assert graph.mag().pag() == expected


def test_hidden_nodes_have_two_children_or_more_and_are_a_tenth():
    random = np.random.default_rng(0)
    dag = np.triu(random.random((30, 30)) < 0.1, 1)
    laws = [
        ConditionalLaw(tuple(np.flatnonzero(dag[:, k]).tolist()), np.ones(1 + dag[:, k].sum()), 1.0) for k in range(30)
    ]
    network = BayesianNetwork(tuple(f"n{k}" for k in range(30)), ((),) * 30, tuple(laws))
    able = {f"n{k}" for k in range(30) if dag[k].sum() >= 2}
    assert 3 < len(able) < 30
    for seed in range(10):
        graph, _ = with_hidden_nodes(network, np.random.default_rng(seed), 5)
        gone = set(network.names) - set(graph.names)
        assert len(gone) == 3
        assert gone <= able


@pytest.mark.parametrize("source", list(room.RECIPES))
def test_a_simulated_truth_is_the_pag_of_the_drawn_model(source, monkeypatch):
    drawn = []

    def noted(recipe, random, d):
        drawn.append(draw_latent_model(recipe, random, d))
        return drawn[-1]

    monkeypatch.setattr(room, "draw_latent_model", noted)
    (one,) = pag_tables([PagCell("simulated", source, 7, 50, 1)], seed=1)
    assert one.truth == drawn[-1].graph.mag().pag()
    assert one.table.names == drawn[-1].graph.names
    assert one.table.values.shape == (50, 7)
    np.testing.assert_allclose(one.table.values.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(one.table.values.std(0), 1)


def test_shares_of_double_arrows_are_those_that_are_promised():
    def share(source):
        models = [draw_latent_model(room.RECIPES[source], np.random.default_rng(k), 40).graph for k in range(30)]
        doubles = sum(model.bidirected.sum() / 2 for model in models)
        return doubles / (doubles + sum(model.directed.sum() for model in models))

    assert share("none") == 0
    assert 0.08 < share("double-arrows") < 0.17
    assert 0.3 < share("many-double-arrows") < 0.4
    assert isinstance(room.RECIPES["hidden-nodes"].hidden, tuple)
    assert LatentRecipe() == room.RECIPES["double-arrows"]


def test_a_table_depends_on_its_own_cell_number_and_seed_alone():
    few, more = PagCell("simulated", "double-arrows", 5, 20, 1), PagCell("simulated", "double-arrows", 5, 20, 3)
    other = PagCell("simulated", "hidden-nodes", 5, 20, 2)
    (alone,) = pag_tables([few], 0)
    both = list(pag_tables([other, more], 0))
    assert [one.key.rpartition(" ")[2] for one in both] == ["#0", "#0", "#1", "#1", "#2"], "first tables come first"
    again = {one.key: one for one in both}[alone.key]
    np.testing.assert_array_equal(again.table.values, alone.table.values)
    values = {one.table.values.tobytes() for one in [*both, *pag_tables([few], 1)]}
    assert len(values) == 6, "every table, and every seed, has rows of its own"


def test_two_columns_that_are_one_are_drawn_anew_and_refused_at_last(monkeypatch):
    class Twins:
        graph = draw_latent_model(LatentRecipe(), np.random.default_rng(0), 2).graph

        def rows(self, random, count):
            return np.repeat(random.standard_normal((count, 1)), 2, axis=1)

    calls = []
    monkeypatch.setattr(room, "draw_latent_model", lambda *given: calls.append(given) or Twins())
    with pytest.raises(BadInput, match="two columns that are one; ask for fewer variables"):
        list(pag_tables([PagCell("simulated", "none", 2, 20, 1)], 0))
    assert len(calls) == room.MAX_DRAWS


def test_cells_are_all_combinations_and_networks_of_levels_are_refused(monkeypatch):
    assert len(simulated_cells(("none", "hidden-nodes"), (5, 10, 20), (100, 200), 4)) == 12
    monkeypatch.setattr(room, "published", lambda name: STAR)
    (cell,) = network_cells(("star",), (500,), 2)
    assert cell.key == "networks star d4 n500"
    (first, second) = pag_tables([cell], 0)
    assert len(first.truth) == 3
    assert first.key != second.key
    levels = BayesianNetwork(("a",), (("no", "yes"),), (ConditionalLaw((), np.array([0.5, 0.5])),))
    monkeypatch.setattr(room, "published", lambda name: levels)
    with pytest.raises(BadInput, match="'asia' has levels"):
        network_cells(("asia",), (500,), 2)


@pytest.mark.skipif(networks_folder() is None, reason="pgmpy is not installed")
def test_a_published_network_has_a_table():
    (one,) = pag_tables(network_cells(("ecoli70",), (100,), 1), 0)
    assert len(one.truth) == 41
    assert one.table.values.shape == (100, 41)
