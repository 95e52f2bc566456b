"""From parameters to graphs: thresholds, repairs, knowledge, and the search by BIC; shares of restarts."""

from itertools import combinations

import numpy as np
import pytest

from intaglio.causal.confounding.class_repair import AllowedGraphs, Edges, in_agreement, repaired, thresholded
from intaglio.causal.confounding.edge_search import candidate_pairs, improved, prior_of
from intaglio.causal.confounding.restart_shares import (
    adjacency_shares,
    bic_weights,
    collider_shares,
    mark_shares,
    unshielded_triples,
)
from intaglio.causal.confounding.ricf import DistrictScores
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Knowledge
from linear_admgs import rows_of
from mixed_graphs import random_mixed
from small_graphs import named

NO_COSTS = np.zeros((4, 4))


def allowed(d: int, kind: str = "ancestral", **known) -> AllowedGraphs:
    return AllowedGraphs(named(d), kind, Knowledge(**known).constraints(named(d), hidden_causes=True))


def edges_of(text: str, d: int = 4) -> Edges:
    made = ADMG.of(named(d), [tuple(edge.split()) for edge in text.split(", ")] if text else [])
    return Edges(made.directed, made.bidirected)


def matrix(entries: dict[str, float], d: int = 4, both: bool = False) -> np.ndarray:
    found = np.zeros((d, d))
    for pair, value in entries.items():
        i, j = (named(d).index(name) for name in pair)
        found[i, j] = value
        if both:
            found[j, i] = value
    return found


@pytest.mark.parametrize("kind", ["ancestral", "arid", "bow-free"])
def test_a_repaired_graph_is_of_the_class_and_loses_no_edge_that_does_not_stand_against_it(kind):
    random = np.random.default_rng(0)
    for _ in range(40):
        arrows, doubles = random.normal(size=(2, 5, 5)) * (random.random((2, 5, 5)) < 0.4)
        np.fill_diagonal(arrows, 0)
        doubles = np.tril(doubles, -1) + np.tril(doubles, -1).T
        graphs = allowed(5, kind)
        before = thresholded(arrows, doubles, 0.05, graphs.known)
        after = repaired(before, arrows, doubles, graphs)
        assert graphs.of_class(after)
        assert not (after.directed & ~before.directed).any()
        assert not (after.bidirected & ~before.bidirected).any()
        if graphs.of_class(before):
            assert np.array_equal(after.directed, before.directed)


def test_the_weakest_goes():
    graphs = allowed(4)
    arrows = matrix({"AB": 0.9, "BC": -0.2, "CA": 0.5})
    left = repaired(thresholded(arrows, 0 * arrows, 0.05, graphs.known), arrows, 0 * arrows, graphs)
    assert np.argwhere(left.directed).tolist() == [[0, 1], [2, 0]]
    for double, edges in ((0.1, "A --> B, B --> C"), (0.4, "A --> B, A <-> C")):
        arrows, doubles = matrix({"AB": 0.9, "BC": 0.2}), matrix({"AC": double}, both=True)
        left = repaired(thresholded(arrows, doubles, 0.05, graphs.known), arrows, doubles, graphs)
        assert np.array_equal(left.directed, edges_of(edges).directed)
        assert np.array_equal(left.bidirected, edges_of(edges).bidirected)
    certain = allowed(4, required=(("B", "C"),))
    arrows = matrix({"AB": 0.9, "BC": 0.01, "CA": 0.5})
    left = repaired(thresholded(arrows, 0 * arrows, 0.05, certain.known), arrows, 0 * arrows, certain)
    assert np.argwhere(left.directed).tolist() == [[0, 1], [1, 2]]


def test_adjacent_pairs_get_the_largest_edge_that_may_be():
    graphs = allowed(3, adjacent=(("A", "B"), ("B", "C")), forbidden=(("A", "B"),))
    arrows, doubles = matrix({"AB": 0.04, "BA": 0.01, "BC": 0.02}, 3), matrix({"AB": 0.03}, 3, both=True)
    found = thresholded(arrows, doubles, 0.05, graphs.known)
    assert found.bidirected[0, 1]
    assert not found.directed[0, 1]
    assert found.directed[1, 2]


def test_what_is_known_is_brought_about_or_the_graph_is_given_up():
    """An inducing path joins A and D, which are to be apart; taking one double arrow out is enough."""
    apart = allowed(4, "bow-free", apart=(("A", "D"),))
    joined = edges_of("A <-> B, B <-> C, C <-> D, B --> D, C --> A")
    assert not apart.holds(joined)
    found = in_agreement(joined, apart)
    assert found is not None
    assert apart.holds(found)
    assert found.bidirected.sum() == 4
    pair = allowed(3, adjacent=(("A", "C"),), forbidden=(("A", "C"), ("C", "A")))
    assert in_agreement(edges_of("", 3), pair).bidirected[0, 2]
    required = allowed(3, required=(("A", "B"), ("B", "C")), adjacent=(("A", "C"),), forbidden=(("A", "C"),))
    assert in_agreement(edges_of("A --> B, B --> C", 3), required) is None


def test_the_search_ends_where_no_change_of_one_edge_is_better():
    for seed in range(3):
        made = ADMG(named(4), *random_mixed(np.random.default_rng(seed), 4, 0.5))
        covariance = np.corrcoef(rows_of(made, 500, seed).to_numpy().T)
        pairs, graphs = candidate_pairs(covariance, edges_of(""), 6), allowed(4)
        given = (DistrictScores(covariance, 500), graphs, pairs, 20, np.random.default_rng(0), lambda: True, NO_COSTS)
        (found, told), exact = improved(edges_of(""), *given), DistrictScores(covariance, 500)
        reached = exact.bic(found.directed, found.bidirected)
        assert told == pytest.approx(reached, abs=0.05)
        assert reached <= exact.bic(made.directed & False, made.bidirected & False)
        for i, j in combinations(range(4), 2):
            for kind in ({}, {"arrow": True}, {"back": True}, {"double": True}):
                other = found.with_pair(i, j, **kind)
                assert not graphs.of_class(other) or exact.bic(other.directed, other.bidirected) > reached - 0.1


def test_without_sweeps_edges_only_go_and_without_time_nothing_changes():
    made = edges_of("A --> B, B --> C, C --> D")
    covariance = np.corrcoef(rows_of(allowed(4).graph(made), 2000).to_numpy().T)
    full = Edges(np.triu(np.ones((4, 4), bool), 1), np.zeros((4, 4), bool))
    pairs = candidate_pairs(covariance, full, 10)
    given = (full, DistrictScores(covariance, 2000), allowed(4), pairs)
    pruned, _ = improved(*given, 0, np.random.default_rng(0), lambda: True, NO_COSTS)
    assert not (pruned.directed & ~full.directed).any()
    assert not pruned.bidirected.any()
    assert pruned.directed.sum() < 6
    assert improved(*given, 5, np.random.default_rng(0), lambda: False, NO_COSTS)[0] is full


def test_candidates_are_the_edges_and_then_the_most_correlated_given_the_rest():
    precision = np.eye(4)
    precision[0, 2] = precision[2, 0] = 0.4
    precision[1, 3] = precision[3, 1] = -0.2
    pairs = candidate_pairs(np.linalg.inv(precision), edges_of("A --> B"), 2)
    assert pairs == [(0, 1), (0, 2), (1, 3)]
    assert candidate_pairs(np.linalg.inv(precision), edges_of("A --> B"), 0) == [(0, 1)]


def test_shares_are_weighted_by_the_bic():
    graphs = [
        Graph.of("PAG", "abc", [("a", "o->", "c"), ("b", "o->", "c")]),
        Graph.of("PAG", "abc", [("a", "o-o", "c"), ("b", "o-o", "c")]),
        Graph.of("PAG", "abc", [("a", "o->", "c")]),
    ]
    weights = bic_weights([10.0, 10.0 + 2 * np.log(2), 10.0 + 2 * np.log(4)])
    assert weights.tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    adjacent = adjacency_shares(graphs, weights)
    assert adjacent[0, 2] == pytest.approx(1.0)
    assert adjacent[1, 2] == adjacent[2, 1] == pytest.approx(6 / 7)
    marks = mark_shares(graphs, weights)
    assert marks[0, 2].tolist() == pytest.approx([5 / 7, 0, 2 / 7])
    assert marks[1, 2].tolist() == pytest.approx([4 / 6, 0, 2 / 6])
    assert marks[2, 1].tolist() == [0, 0, 1]
    assert marks[0, 1].tolist() == [0, 0, 1]
    triples = unshielded_triples(graphs[0])
    assert triples.tolist() == [[2, 0, 1]]
    assert collider_shares(graphs, weights, triples).tolist() == pytest.approx([4 / 7])


def test_costs_of_pairs_decide_over_edges_and_are_part_of_the_score():
    made = edges_of("A --> B, B --> C")
    covariance = np.corrcoef(rows_of(allowed(4).graph(made), 300).to_numpy().T)
    pairs = candidate_pairs(covariance, edges_of(""), 6)

    def found(costs):
        given = (DistrictScores(covariance, 300), allowed(4), pairs, 20, np.random.default_rng(0), lambda: True)
        return improved(edges_of(""), *given, costs)

    costs = np.zeros((4, 4))
    costs[0, 1] = costs[1, 0] = 1e4  # so dear that no likelihood pays for it
    costs[0, 3] = costs[3, 0] = -1e4
    (plain, _), (changed, score) = found(NO_COSTS), found(costs)
    joined = changed.directed | changed.directed.T | changed.bidirected
    assert (plain.directed | plain.directed.T | plain.bidirected)[0, 1]
    assert not joined[0, 1]
    assert joined[0, 3]
    bic = DistrictScores(covariance, 300).bic(changed.directed, changed.bidirected)
    assert score == pytest.approx(bic - 1e4, abs=0.05)
    assert prior_of(changed, costs) == -1e4
