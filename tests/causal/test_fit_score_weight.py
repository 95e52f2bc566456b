"""Fitting of the weight of BIC beside a network's logits, on simulated tables."""

from types import SimpleNamespace

import numpy as np
import pytest

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.methods.sicl.evidence import kind_codes
from intaglio.causal.methods.sicl.networks.weights import load_network
from intaglio.causal.methods.sicl.training import fit_score_weight
from intaglio.causal.methods.sicl.training.batches import column_kinds
from intaglio.causal.methods.sicl.training.curriculum import Curriculum
from intaglio.causal.methods.sicl.training.fit_score_weight import (
    TABLES_PER_BATCH,
    WEIGHTS,
    fit_score_weights,
    simulated_tables,
    table_of,
)
from intaglio.causal.simulate import simulator
from intaglio.causal.simulate.recipe import Recipe
from intaglio.randomness import numpy_generator

TINY = Curriculum(columns=(3, 4, 5), rows=(50, 100, 5000))


@pytest.mark.parametrize("types", ["continuous", "discrete", "mixed"])
def test_a_table_of_a_batch_is_one_as_a_person_brings_it(types):
    batch = simulator.draw(Recipe().with_types(types), numpy_generator(3, 0), 4, 5, 60)
    for index in range(4):
        table = table_of(batch, index)
        assert np.array_equal(table.values, batch.tables[index])
        assert table.values.dtype == np.float64
        assert np.array_equal(kind_codes(table), column_kinds(batch)[index].numpy())
        for k, levels in enumerate(table.levels):
            assert len(levels) == batch.levels[index, k]
            assert (table.kinds[k] == "continuous") == (not levels)
            assert table.values[:, k].max() < (len(levels) or np.inf)
        assert len(set(table.keys)) == 5


def test_tables_are_of_all_types_in_turn_and_the_same_again():
    found = list(simulated_tables(TINY, 4 * TABLES_PER_BATCH))
    again = list(simulated_tables(TINY, 4 * TABLES_PER_BATCH))
    assert 2 * TABLES_PER_BATCH < len(found) <= 4 * TABLES_PER_BATCH
    seen = set()
    for (table, truth), (other, _) in zip(found, again, strict=True):
        assert truth.kind == "CPDAG"
        assert truth.names == table.names
        assert len(table) in (50, 100)  # what takes long says nothing more
        assert np.array_equal(table.values, other.values)
        seen.add(frozenset({"numbers" if kind == "continuous" else "levels" for kind in table.kinds}))
    assert {frozenset({"numbers"}), frozenset({"levels"})} <= seen
    assert not list(simulated_tables(TINY, 0))


def test_long_tables_alone_and_narrow_ones_alone_will_do():
    table, _ = next(simulated_tables(Curriculum(columns=(2, 3), rows=(5000, 2500)), 1))
    assert len(table) == 2500
    assert len(table.names) in (2, 3)


def graph(edges: int) -> Graph:
    return Graph.of("CPDAG", "abcd", [("a", "---", "b"), ("b", "---", "c"), ("c", "---", "d")][:edges])


@pytest.fixture
def answered(monkeypatch):
    """Answers that are as right as a table says for each weight."""
    right: list[dict[float, int]] = []

    def tables_of(curriculum, count):
        for k in range(count):
            yield SimpleNamespace(values=np.zeros((5, 4)), index=k), graph(3)

    def predict_graph(trained, table, weight):
        decoded = SimpleNamespace(graph=graph(right[table.index][weight]), dag=SimpleNamespace(directed=weight))
        return SimpleNamespace(decoded=decoded)

    monkeypatch.setattr(fit_score_weight, "simulated_tables", tables_of)
    monkeypatch.setattr(fit_score_weight, "_predict", predict_graph)
    monkeypatch.setattr(fit_score_weight, "kind_codes", lambda table: np.zeros(4, int))
    return right


def test_the_weight_of_the_best_mean_is_taken_for_each_occasion(answered, monkeypatch):
    # The first two tables: 0.25 is the best on average, though 1 and 0.1 are the best of one each.
    answered.append({0.0: 1, 0.1: 3, 0.25: 2, 0.5: 0, 1.0: 0})
    answered.append({0.0: 1, 0.1: 0, 0.25: 2, 0.5: 0, 1.0: 3})
    answered.append({0.0: 0, 0.1: 0, 0.25: 0, 0.5: 3, 1.0: 0})
    # Where nothing is gained, nothing is weighed.
    answered.append(dict.fromkeys(WEIGHTS, 2))
    words = iter(["linear, few rows", "linear, few rows", "mixed, many rows", "levels, few rows"])

    def score_regime_key(values, kinds, dag):
        assert dag == 0.0  # of the graph before any refinement, as when it is used
        return next(words)

    monkeypatch.setattr(fit_score_weight, "score_regime_key", score_regime_key)
    found = fit_score_weights(load_network("light"), TINY, 4)
    assert found == {"levels, few rows": 0.0, "linear, few rows": 0.25, "mixed, many rows": 0.5}


def test_weights_are_chosen_by_a_network_of_the_package():
    found = fit_score_weights(load_network("light"), TINY, TABLES_PER_BATCH)
    assert found
    assert set(found.values()) <= set(WEIGHTS)
    assert all(when.endswith(" rows") for when in found)
    assert fit_score_weights(load_network("light"), TINY, 0) == {}
