"""ADMGs: their classes by enumeration, their margins and MAGs by m-separation."""

from itertools import combinations

import numpy as np
import pytest

from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.graph import Graph
from intaglio.errors import BadInput
from mixed_graphs import ancestors, open_paths, random_mixed, sets_without, subsets
from small_graphs import dags, named, random_dag


def canonical(directed: np.ndarray, bidirected: np.ndarray) -> np.ndarray:
    """Marks [1, d + k, d + k] of the DAG with a hidden parent for each of k double arrows."""
    pairs = np.argwhere(np.triu(bidirected))
    d = len(directed) + len(pairs)
    arrows = np.zeros((d, d), bool)
    arrows[: len(directed), : len(directed)] = directed
    for k, pair in enumerate(pairs):
        arrows[len(directed) + k, pair] = True
    return np.where(arrows, 2, np.where(arrows.T, 3, 0)).astype(np.int8)[None]


def has_arborescence(graph: ADMG) -> bool:
    """A set of two or more, connected by double arrows, each member with a directed path within it to one of them."""
    d = len(graph.names)
    for inside in subsets(range(d)):
        if len(inside) < 2:
            continue
        block = np.ix_(inside, inside)
        marks = np.where(graph.directed[block], 2, np.where(graph.directed[block].T, 3, 0)).astype(np.int8)[None]
        double = graph.bidirected[block] | np.eye(len(inside), dtype=bool)
        connected = np.linalg.matrix_power(double.astype(int), d).all()
        if connected and ancestors(marks)[0].all(0).any():
            return True
    return False


def test_the_classes_of_small_graphs_are_those_of_their_definitions():
    random, seen = np.random.default_rng(0), set()
    for _ in range(300):
        made = ADMG(named(4), *random_mixed(random, 4, random.uniform(0.2, 0.7), 1.0))
        bow = any(made.directed[i, j] and made.bidirected[i, j] for i in range(4) for j in range(4))
        marks = np.where(made.directed, 2, np.where(made.directed.T, 3, 0)).astype(np.int8)[None]
        above = ancestors(marks)[0]
        ancestral = not any(made.bidirected[i, j] and above[i, j] for i in range(4) for j in range(4))
        told = tuple(made.belongs_to(kind) for kind in ("ancestral", "arid", "bow-free"))
        assert told == (ancestral, not has_arborescence(made), not bow)
        assert told == tuple(sorted(told))  # each class is within the next
        seen.add(told)
    assert len(seen) == 4


def test_the_verma_graph_is_arid_and_not_ancestral():
    chain = ADMG.of("abcd", [("a", "-->", "b"), ("b", "-->", "c"), ("c", "-->", "d"), ("b", "<->", "d")])
    assert [chain.belongs_to(kind) for kind in ("ancestral", "arid", "bow-free")] == [False, True, True]
    looped = ADMG.of("abc", [("a", "-->", "b"), ("b", "-->", "c"), ("a", "<->", "b"), ("b", "<->", "c")])
    assert looped.arborescence(2) == [0, 1, 2]
    made = {str(edge) for edge in chain.mag().edges}
    assert made == {"a --> b", "b --> c", "c --> d", "a --> d", "b --> d"}


def test_the_mag_has_the_separations_of_the_graph_with_each_hidden_cause_drawn():
    random = np.random.default_rng(1)
    for _ in range(25):
        made = ADMG(named(4), *random_mixed(random, 4, 0.4, 0.5))
        if made.bidirected.sum() > 4:
            continue
        drawn, mag = canonical(made.directed, made.bidirected), made.mag().marks[None]
        for a, b in combinations(range(4), 2):
            sets = sets_without(4, a, b)
            assert np.array_equal(open_paths(drawn, a, b, sets), open_paths(mag, a, b, sets))


def test_the_mag_of_a_margin_has_the_separations_of_the_dag():
    random = np.random.default_rng(2)
    for _ in range(25):
        dag = random_dag(random, 6, 0.45)
        whole = Graph.from_adjacency("DAG", dag, named(6))
        hidden = [named(6)[k] for k in random.choice(6, 2, replace=False)]
        mag = ADMG.from_graph(whole).without(hidden).mag()
        for first, second in combinations(mag.names, 2):
            for given in subsets(set(mag.names) - {first, second}):
                assert mag.separated(first, second, given) == whole.separated(first, second, given)
                assert mag.adjacent(first).count(second) <= (not whole.separated(first, second, given))


def test_hidden_causes_become_double_arrows_and_hidden_steps_arrows():
    whole = ADMG.of("uabmc", [("u", "-->", "a"), ("u", "-->", "b"), ("b", "-->", "m"), ("m", "-->", "c")])
    left = whole.without("um")
    assert left.names == ("a", "b", "c")
    assert np.argwhere(left.directed).tolist() == [[1, 2]]
    assert np.argwhere(np.triu(left.bidirected)).tolist() == [[0, 1]]
    bow = ADMG.of("hab", [("h", "-->", "a"), ("h", "-->", "b"), ("a", "-->", "b")]).without("h")
    assert bow.directed[0, 1]
    assert bow.bidirected[0, 1]


def test_a_mag_is_its_own_mag():
    for dag in dags(4)[::30]:
        made = Graph.from_adjacency("DAG", dag, named(4))
        assert np.array_equal(ADMG.from_graph(made).mag().marks, made.marks)
    random = np.random.default_rng(3)
    for _ in range(20):
        mag = ADMG(named(6), *random_mixed(random, 6, 0.35)).mag()
        assert ADMG.from_graph(mag).mag() == mag
        assert ADMG.from_graph(mag).belongs_to("ancestral")


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([("a", "-->", "b"), ("b", "-->", "a")], "a → b → a is a directed cycle"),
        ([("a", "-->", "a")], "a has an edge to itself"),
        ([("a", "o->", "b")], "write --> or <->"),
        ([("a", "-->", "z")], "no edge of an ADMG of a, b"),
    ],
)
def test_what_is_no_admg_is_refused_by_name(edges, words):
    with pytest.raises(BadInput, match=words):
        ADMG.of("ab", edges)


def test_matrices_that_do_not_fit_are_refused():
    none = np.zeros((2, 2), bool)
    with pytest.raises(BadInput, match="not symmetric"):
        ADMG(("a", "b"), none, np.array([[False, True], [False, False]]))
    with pytest.raises(BadInput, match="3 variables have"):
        ADMG(("a", "b", "c"), none, none)
    with pytest.raises(BadInput, match="one name"):
        ADMG(("a", "a"), none, none)
    with pytest.raises(BadInput, match="'z' is no variable"):
        ADMG(("a", "b"), none, none).without("z")
    with pytest.raises(BadInput, match="stands for many"):
        ADMG.from_graph(Graph.of("PAG", "ab", [("a", "o-o", "b")]))
