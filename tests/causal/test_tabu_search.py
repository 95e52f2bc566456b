from itertools import combinations, product

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.methods.sicl.decoding.decoder import DecodedGraph, decode
from intaglio.causal.methods.sicl.decoding.orient import TripleLogits, wedges
from intaglio.causal.methods.sicl.decoding.tabu_search import GraphObjective, TabuSearch, refine
from intaglio.causal.scores.bic import GaussianBIC, LocalScore
from small_graphs import dags, named, random_dag

DRAWS = settings(max_examples=12, deadline=None)
MODES = ("likelihood", "signed")


class Drawn(LocalScore):
    """A score that is different for every family."""

    def __init__(self, d, seed):
        super().__init__()
        object.__setattr__(self, "_about", (d, seed))

    @property
    def columns(self):
        return self._about[0]

    def family(self, child, parents):
        return float(np.random.default_rng([self._about[1], child, 99, *parents]).normal(0, 3))


def noisy(random, d):
    pairs, triples = random.normal(0, 1.5, (d, d)), random.normal(0, 1.5, (d, d, d))
    return pairs + pairs.T, triples + triples.transpose(0, 2, 1)


def told(triple_logits):
    return lambda triples: triple_logits[triples[:, 0], triples[:, 1], triples[:, 2]]


def term(dag, score, weight, pairs, triples, mode):
    """The objective, term by term."""
    d, total = len(dag), 0.0
    for j in range(d):
        total += weight * score(j, tuple(np.flatnonzero(dag[:, j]).tolist()))
    for i, j in combinations(range(d), 2):
        if dag[i, j] or dag[j, i]:
            total += pairs[i, j]
            continue
        for k in range(d):
            if (dag[i, k] or dag[k, i]) and (dag[j, k] or dag[k, j]):
                v = triples[k, i, j] if dag[i, k] and dag[j, k] else -triples[k, i, j]
                total += v if mode == "signed" else np.log(1 / (1 + np.exp(-v)))
    return total


def acyclic(dag):
    return nx.is_directed_acyclic_graph(nx.from_numpy_array(dag, create_using=nx.DiGraph))


def start(dag, names):
    graph = Graph.from_adjacency("DAG", dag, names)
    return DecodedGraph(graph.cpdag(), graph, 0, False)


def gaussian(random, dag, n=300):
    values = np.zeros((n, len(dag)))
    for j in nx.topological_sort(nx.from_numpy_array(dag, create_using=nx.DiGraph)):
        values[:, j] = values @ (dag[:, j] * random.uniform(0.6, 1.4, len(dag))) + random.normal(0, 1, n)
    return values


@pytest.mark.parametrize("mode", MODES)
@given(st.integers(1, 7), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 1.0]))
@DRAWS
def test_what_a_move_gains_is_the_difference_of_the_objective(mode, d, seed, weight):
    random = np.random.default_rng(seed)
    dag, (pairs, triples), score = random_dag(random, d, 0.4), noisy(random, d), Drawn(d, seed)
    some = np.triu(random.random((d, d)) < 0.7, 1)
    candidates = some | some.T | dag | dag.T
    legs = wedges(candidates)
    objective = GraphObjective(score, weight, range(d), pairs, TripleLogits(d, legs, told(triples)(legs)), mode)
    search = TabuSearch(objective, dag, candidates, 8, Knowledge().constraints(named(d)))
    for _ in range(6):
        now = term(dag, score, weight, pairs, triples, mode)
        assert objective.total(search.parents, search.adjacent) == pytest.approx(now)
        possible = []
        for index, (i, j) in enumerate(search.pairs):
            for state in range(3):
                other = dag.copy()
                other[i, j], other[j, i] = state == 1, state == 2
                gain = search.gains[index, state]
                if (other == dag).all():
                    assert gain == -np.inf
                    continue
                assert gain == pytest.approx(term(other, score, weight, pairs, triples, mode) - now)
                assert search.acyclic(index, state) == acyclic(other)
                possible += [(index, state, other)] if acyclic(other) else []
        if not possible:
            return
        index, state, dag = possible[random.integers(len(possible))]
        search.move(index, state)


@pytest.mark.parametrize("mode", MODES)
def test_the_best_of_all_dags_is_found_where_there_are_few(mode):
    random, best = np.random.default_rng(0), 0
    for trial in range(16):
        true = random_dag(random, 4, 0.6)
        score = GaussianBIC.of(gaussian(random, true))
        pairs, triples = noisy(random, 4) if trial % 2 else (np.zeros((4, 4)), np.zeros((4, 4, 4)))
        begun = start(random_dag(random, 4, 0.5), named(4))
        found = refine(
            begun, score, pairs, told(triples), weight=1.0, candidate=1e-6, patience=20, triples=mode, keys=[b""] * 4
        )
        every = [term(dag, score, 1.0, pairs, triples, mode) for dag in dags(4)]
        reached = term(found.dag.directed, score, 1.0, pairs, triples, mode)
        assert reached >= term(begun.dag.directed, score, 1.0, pairs, triples, mode) - 1e-6
        best += reached > max(every) - 1e-6
    assert best >= 15


def test_rows_alone_give_the_true_class():
    random = np.random.default_rng(1)
    dag = random_dag(random, 6, 0.4)
    score = GaussianBIC.of(gaussian(random, dag, 20_000))
    empty = start(np.zeros((6, 6), bool), named(6))
    found = refine(empty, score, np.zeros((6, 6)), told(np.zeros((6, 6, 6))), weight=1.0, keys=[b""] * 6)
    assert found.graph == Graph.from_adjacency("DAG", dag, named(6)).cpdag()


def test_without_weight_the_score_is_never_asked():
    class Silent(Drawn):
        def family(self, child, parents):
            raise AssertionError("asked")

    random = np.random.default_rng(2)
    dag = random_dag(random, 6, 0.5)
    pairs = np.where(dag | dag.T, 3.0, -3.0)
    triples = np.where(dag.T[:, :, None] & dag.T[:, None, :], 3.0, -3.0)
    begun = decode(named(6), pairs, told(triples), keys=[b""] * 6)
    found = refine(begun, Silent(0, 0), pairs, told(triples), weight=0.0, keys=[b""] * 6)
    assert found.graph == begun.graph == Graph.from_adjacency("DAG", dag, named(6)).cpdag()
    assert found.conflicts == 0


def test_a_sure_triple_pays_for_wrong_edges_only_where_signed():
    # A — B is there, C hangs on A with a logit against it, and the triple A would make is sure to be no collider.
    pairs = np.array([[0, 3, -2], [3, 0, -9], [-2, -9, 0]], float)
    triples = np.full((3, 3, 3), -5.0)
    begun = decode(named(3), pairs, told(triples), keys=[b""] * 3)
    edges = {
        mode: int(
            refine(
                begun, Drawn(3, 0), pairs, told(triples), weight=0.0, triples=mode, keys=[b""] * 3
            ).graph.skeleton.sum()
        )
        for mode in MODES
    }
    assert edges == {"likelihood": 2, "signed": 4}


@given(st.integers(2, 8), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0]))
@DRAWS
def test_knowledge_candidates_and_parents_are_kept_to(d, seed, weight):
    random = np.random.default_rng(seed)
    names, (pairs, triples) = named(d), noisy(random, d)
    order = random.permutation(d)
    index = np.argsort(order)
    after = [(names[a], names[b]) for a, b in product(range(d), repeat=2) if index[a] < index[b]]
    chosen = [after[k] for k in random.permutation(len(after))[: len(after) // 2]]
    parts = [chosen[k::4] for k in range(4)]
    known = Knowledge(tuple(parts[0]), tuple((b, a) for a, b in parts[1]), tuple(parts[2]), tuple(parts[3]))
    constraints = known.constraints(names)
    keys = [random.bytes(4) for _ in range(d)]
    begun = decode(names, pairs, told(triples), knowledge=known, keys=keys)
    score = Drawn(d, seed)
    found = refine(
        begun,
        score,
        pairs,
        told(triples),
        weight=weight,
        candidate=0.4,
        most_parents=2,
        patience=15,
        knowledge=known,
        keys=keys,
    )
    assert constraints.allow(found.dag.directed)
    assert found.graph.directed[constraints.required].all()
    assert not (found.graph.directed | found.graph.undirected)[constraints.forbidden].any()
    allowed = (pairs > np.log(0.4 / 0.6)) | begun.graph.skeleton | constraints.adjacent
    assert allowed[found.graph.skeleton].all()
    before = term(begun.dag.directed, score, weight, pairs, triples, "likelihood")
    assert term(found.dag.directed, score, weight, pairs, triples, "likelihood") >= before - 1e-6
    # No variable gets a third parent: one that has more had them at the start.
    more = found.dag.directed.sum(0) > 2
    assert (found.dag.directed.sum(0)[more] <= begun.dag.directed.sum(0)[more]).all()


@given(st.integers(2, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=6, deadline=None)
def test_the_order_of_columns_changes_nothing_here_either(d, seed):
    random = np.random.default_rng(seed)
    names, keys, (pairs, triples) = named(d), [random.bytes(8) for _ in range(d)], noisy(random, d)
    values = gaussian(random, random_dag(random, d, 0.5))
    order = random.permutation(d)

    def moved(asked):
        return told(triples)(order[asked])

    # Weight 0.5 of a score that does not tell equivalent DAGs apart, so many moves are equally good.
    one = decode(names, pairs, told(triples), keys=keys)
    one = refine(one, GaussianBIC.of(values), pairs, told(triples), weight=0.5, patience=15, keys=keys)
    turned, cells = ([names[k] for k in order], [keys[k] for k in order]), np.ix_(order, order)
    two = decode(turned[0], pairs[cells], moved, keys=turned[1])
    two = refine(two, GaussianBIC.of(values[:, order]), pairs[cells], moved, weight=0.5, patience=15, keys=turned[1])
    assert (one.graph, one.dag, one.conflicts, one.fallback) == (two.graph, two.dag, two.conflicts, two.fallback)


def test_the_triples_of_all_candidates_are_asked_for_once():
    random = np.random.default_rng(3)
    (pairs, triples), asked = noisy(random, 7), []

    def colliders(legs):
        asked.append(legs)
        return told(triples)(legs)

    begun = decode(named(7), pairs, told(triples), keys=[bytes([k]) for k in range(7)])
    found = refine(begun, Drawn(7, 0), pairs, colliders, weight=1.0, candidate=0.3, keys=[bytes([k]) for k in range(7)])
    near = (pairs > np.log(0.3 / 0.7)) & ~np.eye(7, dtype=bool)
    expected = {
        (k, frozenset({i, j})) for k in range(7) for i, j in combinations(range(7), 2) if near[k, i] and near[k, j]
    }
    assert len(asked) == 1
    assert len(asked[0]) == len(expected)
    assert {(k, frozenset({i, j})) for k, i, j in asked[0].tolist()} == expected
    dag = found.dag.directed
    wrong = 0
    for k, legs in ((k, pair) for k in range(7) for pair in combinations(range(7), 2)):
        i, j = legs
        if (dag | dag.T)[k, [i, j]].all() and not (dag | dag.T)[i, j]:
            wrong += (dag[i, k] and dag[j, k]) != (triples[k, i, j] > 0)
    assert found.conflicts == wrong


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight": -1.0}, "weight is 0 or more"),
        ({"weight": float("nan")}, "weight is 0 or more"),
        ({"candidate": 0.0}, "candidate is a probability"),
        ({"most_parents": 0}, "most_parents"),
        ({"tabu": 0}, "tabu"),
        ({"patience": 0}, "patience"),
        ({"score": Drawn(2, 0)}, "score is of 2 columns"),
        ({"knowledge": Knowledge(required=(("B", "A"),))}, "contradicts the knowledge"),
        ({"skeleton": np.zeros((2, 2))}, "shape"),
    ],
)
def test_what_cannot_be_refined_is_refused(change, words):
    dag = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]], bool)
    usual = {"score": Drawn(3, 0), "skeleton": np.zeros((3, 3)), "weight": 1.0, "keys": [b""] * 3, **change}
    with pytest.raises(ValueError, match=words):
        refine(start(dag, named(3)), colliders=told(np.zeros((3, 3, 3))), **usual)
