from itertools import combinations, product

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.causal.graphs import meek
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.graphs.paths import descendants
from intaglio.causal.methods.sicl.decoding.decoder import decode, decode_directed
from intaglio.causal.methods.sicl.decoding.orient import Orientation, unshielded
from small_graphs import classes, dags, named, random_dag, union

DRAWS = settings(max_examples=60, deadline=None)


def column_keys(random, d):
    return [random.bytes(8) for _ in range(d)]


def told(triple_logits):
    """What a network with these [centre, leg, leg] logits answers."""
    return lambda triples: triple_logits[triples[:, 0], triples[:, 1], triples[:, 2]]


def perfect(dag):
    return np.where(dag | dag.T, 2.0, -2.0), told(np.where(dag.T[:, :, None] & dag.T[:, None, :], 2.0, -2.0))


def noisy(random, d, density=0.0):
    """Symmetric logits of pairs and of triples that know nothing of each other."""
    pairs, triples = random.normal(density, 1, (d, d)), random.normal(0, 1, (d, d, d))
    return pairs + pairs.T, triples + triples.transpose(0, 2, 1)


def consistent(random, order, names, amount):
    """Statements that the order allows, whatever the data say."""
    d = len(names)
    place = np.argsort(order)
    pairs = [(a, b) for a, b in product(range(d), repeat=2) if place[a] < place[b]]
    some = [pairs[k] for k in random.permutation(len(pairs))[: int(amount * len(pairs))]]
    kinds = random.integers(0, 4, len(some))
    at = [[(names[a], names[b]) for (a, b), kind in zip(some, kinds, strict=True) if kind == k] for k in range(4)]
    tiers = ()
    if random.random() < 0.5:
        cut = int(random.integers(0, d + 1))
        tiers = tuple(tuple(names[k] for k in part) for part in (order[:cut], order[cut:]))
    return Knowledge(tuple(at[0]), tuple((b, a) for a, b in at[1]), tuple(at[2]), tuple(at[3]), tiers)


def graph_logits(graph):
    """What the graph itself would say of its pairs and triples."""
    return perfect(graph.extension().directed)


@given(st.integers(1, 10), st.integers(0, 2**32 - 1), st.floats(-1.5, 1.5))
@DRAWS
def test_whatever_the_logits_the_graph_is_a_cpdag_over_the_thresholded_pairs(d, seed, density):
    random = np.random.default_rng(seed)
    pairs, triples = noisy(random, d, density)
    found = decode(named(d), pairs, told(triples), keys=column_keys(random, d))
    assert found.graph.kind == "CPDAG"
    assert np.array_equal(found.graph.skeleton, (pairs > 0) & ~np.eye(d, dtype=bool))
    assert found.dag.kind == "DAG"
    assert found.dag.cpdag() == found.graph
    # Checked apart from the Graph's own check: it is the completion of each of its extensions.
    directed, undirected = meek.cpdag_of(found.dag.directed)
    assert np.array_equal(directed | undirected, found.graph.adjacency)
    again = decode(named(d), *graph_logits(found.graph), keys=column_keys(random, d))
    assert again.graph == found.graph
    assert (again.conflicts, again.fallback) == (0, False)


@given(st.integers(4, 12), st.integers(0, 2**32 - 1), st.floats(0.1, 0.8))
@DRAWS
def test_right_logits_give_the_true_class(d, seed, density):
    random = np.random.default_rng(seed)
    dag = random_dag(random, d, density)
    found = decode(named(d), *perfect(dag), keys=column_keys(random, d))
    assert found.graph == Graph.from_adjacency("DAG", dag, named(d)).cpdag()
    assert (found.conflicts, found.fallback) == (0, False)


def test_right_logits_give_every_class_of_four():
    for members in classes(4).values():
        found = decode(named(4), *perfect(members[0]), keys=[b""] * 4)
        assert np.array_equal(found.graph.adjacency, union(members))


@given(st.integers(2, 9), st.integers(0, 2**32 - 1), st.booleans())
@DRAWS
def test_the_order_of_columns_changes_nothing(d, seed, ties):
    random = np.random.default_rng(seed)
    pairs, triples = noisy(random, d, 0.4)
    if ties:
        pairs, triples = np.round(pairs), np.sign(triples)
    names, keys = named(d), column_keys(random, d)
    arrows = np.round(random.normal(0, 1, (d, d))) if ties else random.normal(0, 1, (d, d))
    known = consistent(random, random.permutation(d), names, 0.3)
    order = random.permutation(d)
    inverse = np.argsort(order)
    moved = [names[k] for k in order], [keys[k] for k in order]
    cells = np.ix_(order, order)

    def moved_votes(asked):
        return told(triples)(order[asked])

    for knowledge in (Knowledge(), known):
        one = decode(names, pairs, told(triples), knowledge=knowledge, keys=keys)
        two = decode(moved[0], pairs[cells], moved_votes, knowledge=knowledge, keys=moved[1])
        assert two.graph.names == tuple(moved[0])
        assert np.array_equal(two.dag.directed[np.ix_(inverse, inverse)], one.dag.directed)
        assert (two.graph, two.conflicts, two.fallback) == (one.graph, one.conflicts, one.fallback)
        one = decode_directed(names, arrows, knowledge=knowledge, keys=keys)
        two = decode_directed(moved[0], arrows[cells], knowledge=knowledge, keys=moved[1])
        assert (two.graph, two.dag, two.conflicts) == (one.graph, one.dag, one.conflicts)


def test_columns_of_the_same_content_are_told_apart_by_name():
    pairs, triple_logits = np.full((3, 3), 5.0), np.zeros((3, 3, 3))
    pairs[0, 1] = pairs[1, 0] = -5.0
    one = decode(("A", "B", "C"), pairs, told(triple_logits), keys=[b"same"] * 3)
    order = [2, 0, 1]
    two = decode(("C", "A", "B"), pairs[np.ix_(order, order)], told(triple_logits), keys=[b"same"] * 3)
    assert one.dag == two.dag


@given(st.integers(2, 9), st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_knowledge_is_honoured_whatever_the_logits(d, seed, amount):
    random = np.random.default_rng(seed)
    names, keys = named(d), column_keys(random, d)
    knowledge = consistent(random, random.permutation(d), names, amount)
    constraints = knowledge.constraints(names)
    pairs, triples = noisy(random, d, 0.5)
    arrows = random.normal(0, 1, (d, d))
    for found in (
        decode(names, pairs, told(triples), knowledge=knowledge, keys=keys),
        decode_directed(names, arrows, knowledge=knowledge, keys=keys),
    ):
        graph = found.graph
        assert graph.directed[constraints.required].all()
        assert not (graph.directed | graph.undirected)[constraints.forbidden].any()
        assert graph.skeleton[constraints.adjacent].all()
        assert not graph.skeleton[constraints.apart].any()
        assert constraints.allow(found.dag.directed)
        # One DAG of the graph, which says no more than the class and what is known of it.
        assert found.dag.skeleton.tolist() == graph.skeleton.tolist()
        assert found.dag.directed[graph.directed].all()
        free = found.dag.cpdag()
        arrows_told = [(a, b) for a, b in product(names, repeat=2) if (told_to(free, constraints, a, b))]
        assert free.with_knowledge(arrows_told).adjacency.tolist() == graph.adjacency.tolist()
        assert graph.kind == ("CPDAG" if graph.adjacency.tolist() == free.adjacency.tolist() else "MPDAG")
    # The order allows each pair of a found skeleton one way, so tiers and arrows cost no adjacency here.
    kept = ((pairs > 0) | constraints.adjacent) & ~constraints.apart & ~np.eye(d, dtype=bool)
    found = decode(names, pairs, told(triples), knowledge=knowledge, keys=keys)
    assert np.array_equal(found.graph.skeleton, kept)


def told_to(free, constraints, a, b):
    i, j = free.index_of(a), free.index_of(b)
    return free.undirected[i, j] and (constraints.required[i, j] or constraints.forbidden[j, i])


def test_right_logits_with_knowledge_give_the_arrows_that_all_agreeing_dags_share():
    random = np.random.default_rng(0)
    every = list(classes(4).values())
    for _ in range(60):
        members = every[random.integers(len(every))]
        dag = members[random.integers(len(members))]
        arrows = [(named(4)[i], named(4)[j]) for i, j in np.argwhere(dag)]
        chosen = [arrow for arrow in arrows if random.random() < 0.4]
        back = tuple((b, a) for a, b in chosen[::2])
        found = decode(
            named(4), *perfect(dag), knowledge=Knowledge(required=tuple(chosen[1::2]), forbidden=back), keys=[b""] * 4
        )
        agreeing = [m for m in members if all(m[named(4).index(a), named(4).index(b)] for a, b in chosen)]
        assert np.array_equal(found.graph.adjacency, union(agreeing))


def test_knowledge_that_a_found_skeleton_cannot_follow_costs_its_weakest_pair():
    pairs = np.array([[0, 3, 1], [3, 0, 2], [1, 2, 0]], float)
    forbidden = Knowledge(forbidden=(("A", "B"), ("B", "C"), ("C", "A")))
    found = decode(named(3), pairs, told(np.zeros((3, 3, 3))), knowledge=forbidden, keys=[b"1", b"2", b"3"])
    assert {str(edge) for edge in found.graph.edges} == {"B --> A", "C --> B"}
    # The same with that pair known to be there: then the next weakest goes.
    known = Knowledge(forbidden=forbidden.forbidden, adjacent=(("A", "C"),))
    found = decode(named(3), pairs, told(np.zeros((3, 3, 3))), knowledge=known, keys=[b"1", b"2", b"3"])
    assert {str(edge) for edge in found.graph.edges} == {"B --> A", "A --> C"}


def test_the_triples_are_asked_for_once_and_all():
    asked = []

    def colliders(triples):
        asked.append(triples)
        return np.zeros(len(triples))

    random = np.random.default_rng(1)
    pairs, _ = noisy(random, 8)
    found = decode(named(8), pairs, colliders, keys=column_keys(random, 8))
    there = found.graph.skeleton
    expected = {
        (k, frozenset({i, j}))
        for k in range(8)
        for i, j in combinations(range(8), 2)
        if there[k, i] and there[k, j] and not there[i, j]
    }
    assert len(asked) == 1
    assert len(asked[0]) == len(expected)
    assert {(k, frozenset({i, j})) for k, i, j in asked[0].tolist()} == expected


def test_nothing_is_asked_where_there_is_no_triple():
    def colliders(triples):
        raise AssertionError("asked")

    assert decode(("A",), np.zeros((1, 1)), colliders, keys=[b""]).graph == Graph.of("CPDAG", ["A"])
    two = decode(("A", "B"), np.ones((2, 2)), colliders, keys=[b"", b""])
    assert two.graph == Graph.of("CPDAG", ["A", "B"], [("A", "---", "B")])
    assert decode(("A", "B"), np.full((2, 2), -1.0), colliders, keys=[b"", b""]).graph.skeleton.sum() == 0


def votes_of(d, said):
    triple_logits = np.full((d, d, d), -1.0)
    for (k, i, j), value in said.items():
        triple_logits[k, i, j] = triple_logits[k, j, i] = value
    return told(triple_logits)


def path_of_four():
    pairs = np.full((4, 4), -1.0)
    for i, j in ((0, 1), (1, 2), (2, 3)):
        pairs[i, j] = pairs[j, i] = 1.0
    return pairs


def test_of_two_contradicting_colliders_the_stronger_stands():
    # A — B — C — D: B and C cannot both be colliders, for the edge of B and C would point both ways.
    for strong, expected in ((1, {"A --> B", "C --> B", "C --- D"}), (2, {"A --- B", "B --> C", "D --> C"})):
        triple_logits = votes_of(4, {(1, 0, 2): 1.0 + (strong == 1), (2, 1, 3): 1.0 + (strong == 2)})
        found = decode(named(4), path_of_four(), triple_logits, keys=[bytes([k]) for k in range(4)])
        assert {str(edge) for edge in found.graph.edges} == expected
        assert (found.conflicts, found.fallback) == (1, False)


def test_a_collider_that_makes_denied_ones_along_with_it_needs_more_than_they_deny():
    # D is the centre of A, B and C, which are apart: two colliders that are sure make a third, which is denied.
    pairs = np.full((4, 4), -1.0)
    pairs[3, :3] = pairs[:3, 3] = 1.0
    for denial, arrows in ((-1.5, 3), (-4.0, 2)):
        triple_logits = votes_of(4, {(3, 0, 1): 3.0, (3, 1, 2): 2.0, (3, 0, 2): denial})
        found = decode(named(4), pairs, triple_logits, keys=[bytes([k]) for k in range(4)])
        assert int(found.dag.directed[:3, 3].sum()) == arrows
        assert found.graph.colliders >= {("D", frozenset({"A", "B"}))}


def test_a_skeleton_without_a_dag_free_of_colliders_falls_back():
    # A hole of four: some collider there must be, though all are denied; the least denied is taken.
    pairs = np.full((4, 4), -1.0)
    for i, j in ((0, 1), (1, 2), (2, 3), (3, 0)):
        pairs[i, j] = pairs[j, i] = 1.0
    triple_logits = votes_of(4, {(2, 1, 3): -0.25})
    found = decode(named(4), pairs, triple_logits, keys=[bytes([k]) for k in (2, 0, 3, 1)])
    assert found.fallback
    assert found.graph.colliders == {("C", frozenset({"B", "D"}))}
    assert found.conflicts == 1


def gain(dag, triples, triple_logits):
    values = triple_logits(triples)
    centre, first, second = triples.T
    return np.where(dag[first, centre] & dag[second, centre], values, -values).sum()


def test_no_reversal_of_one_arrow_betters_a_fallback():
    random, seen = np.random.default_rng(3), 0
    for _ in range(60):
        d = int(random.integers(4, 8))
        pairs, triples = noisy(random, d, 0.4)
        found = decode(named(d), pairs, told(triples), keys=column_keys(random, d))
        seen += found.fallback
        dag = found.dag.directed
        asked = unshielded(dag | dag.T)
        for i, j in np.argwhere(dag) if found.fallback else ():
            other = dag.copy()
            other[i, j], other[j, i] = False, True
            if nx.is_directed_acyclic_graph(nx.from_numpy_array(other, create_using=nx.DiGraph)):
                assert gain(other, asked, told(triples)) <= gain(dag, asked, told(triples)) + 1e-9
        centre, first, second = asked.T
        collider = dag[first, centre] & dag[second, centre]
        assert found.conflicts == (collider != (told(triples)(asked) > 0)).sum()
    assert seen > 10


def test_thresholds_are_probabilities():
    pairs, triple_logits = path_of_four(), votes_of(4, {(1, 0, 2): 1.0})
    keys = [bytes([k]) for k in range(4)]
    assert 0.73 < 1 / (1 + np.exp(-1)) < 0.74
    assert decode(named(4), pairs, triple_logits, threshold=0.73, keys=keys).graph.skeleton.sum() == 6
    assert decode(named(4), pairs, triple_logits, threshold=0.74, keys=keys).graph.skeleton.sum() == 0
    assert decode(named(4), pairs, triple_logits, collider_threshold=0.73, keys=keys).graph.directed.any()
    assert not decode(named(4), pairs, triple_logits, collider_threshold=0.74, keys=keys).graph.directed.any()


def test_certain_logits_are_as_good_as_others():
    dag = random_dag(np.random.default_rng(5), 7, 0.4)
    pairs, _ = perfect(dag)
    sure = told(np.where(dag.T[:, :, None] & dag.T[:, None, :], np.inf, -np.inf))
    found = decode(named(7), pairs * np.inf, sure, keys=[b""] * 7)
    assert found.graph == Graph.from_adjacency("DAG", dag, named(7)).cpdag()
    arrows = decode_directed(named(7), np.where(dag, np.inf, -np.inf), keys=[b""] * 7)
    assert arrows.graph == found.graph


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threshold": 0.0}, "threshold is a probability"),
        ({"collider_threshold": 1.0}, "collider_threshold is a probability"),
        ({"keys": [b""]}, "one key a name"),
        ({"skeleton": np.zeros((2, 2))}, r"shape \(3, 3\)"),
        ({"skeleton": np.triu(np.ones((3, 3)))}, "not symmetric"),
        ({"skeleton": np.full((3, 3), np.nan)}, "A and B is not a number"),
        ({"colliders": lambda triples: np.full(len(triples), np.nan)}, "1 triples"),
    ],
)
def test_wrong_arguments_are_refused(change, words):
    pairs = np.array([[0, 1, 1], [1, 0, -1], [1, -1, 0]], float)
    usual = {"skeleton": pairs, "colliders": told(np.zeros((3, 3, 3))), "keys": [b"", b"", b""], **change}
    with pytest.raises(ValueError, match=words):
        decode(("A", "B", "C"), **usual)


@given(st.integers(1, 9), st.integers(0, 2**32 - 1), st.floats(-2, 1))
@DRAWS
def test_arrows_are_kept_unless_opposed_or_the_weakest_of_a_cycle(d, seed, density):
    random = np.random.default_rng(seed)
    arrows = random.normal(density, 1, (d, d))
    found = decode_directed(named(d), arrows, keys=column_keys(random, d))
    left = nx.DiGraph()
    left.add_nodes_from(range(d))
    strong = [(i, j) for i, j in product(range(d), repeat=2) if i != j and arrows[i, j] > max(0, arrows[j, i])]
    left.add_edges_from(strong)
    # Cycle by cycle, the slow way: as long as there is one, the weakest arrow that lies on any goes.
    while not nx.is_directed_acyclic_graph(left):
        parts = {i: k for k, part in enumerate(nx.strongly_connected_components(left)) for i in part}
        left.remove_edge(*min((e for e in left.edges if parts[e[0]] == parts[e[1]]), key=lambda e: arrows[e]))
    assert {(int(i), int(j)) for i, j in np.argwhere(found.dag.directed)} == set(left.edges)
    assert found.graph == found.dag.cpdag()
    above = (arrows > 0) & ~np.eye(d, dtype=bool)
    assert found.conflicts == above.sum() - len(left.edges)


def test_a_dag_of_arrows_is_kept():
    for dag in dags(3):
        found = decode_directed(named(3), np.where(dag, 1.0, -1.0), threshold=0.6, keys=[b""] * 3)
        assert np.array_equal(found.dag.directed, dag)
        assert found.conflicts == 0


def test_two_that_must_be_adjacent_are_joined_by_an_arrow_that_closes_no_cycle():
    arrows = np.full((3, 3), -4.0)
    arrows[0, 1] = arrows[1, 2] = 2.0
    arrows[2, 0] = -1.0
    found = decode_directed(named(3), arrows, knowledge=Knowledge(adjacent=(("C", "A"),)), keys=[b""] * 3)
    assert {str(edge) for edge in found.dag.edges} == {"A --> B", "B --> C", "A --> C"}


@given(st.integers(3, 9), st.integers(0, 2**32 - 1))
@DRAWS
def test_the_rules_are_refused_what_makes_a_cycle_or_a_collider(d, seed):
    random = np.random.default_rng(seed)
    pairs = np.triu(random.random((d, d)) < 0.6, 1)
    order = random.permutation(d)
    arrows = (pairs & (random.random((d, d)) < 0.4))[np.ix_(order, order)]
    pairs = (pairs | pairs.T)[np.ix_(order, order)]
    state = Orientation(pairs, arrows)
    state.apply_rules(knowledge=True)
    assert not np.diagonal(descendants(state.directed)).any()
    assert collisions(state.directed, pairs) == collisions(arrows, pairs)
    free, lines = meek.closure(arrows, pairs & ~arrows & ~arrows.T, knowledge=True)
    if meek.extension(free, lines) is not None and collisions(free, pairs) == collisions(arrows, pairs):
        assert np.array_equal(state.directed, free)


def collisions(directed, pairs):
    """Unshielded colliders among fixed adjacencies."""
    return {
        (k, i, j)
        for k in range(len(directed))
        for i, j in combinations(np.flatnonzero(directed[:, k]).tolist(), 2)
        if not pairs[i, j]
    }
