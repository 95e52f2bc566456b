from itertools import combinations, product

import networkx as nx
import numpy as np
import pytest

from intaglio.causal.graphs import meek
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark
from intaglio.errors import BadInput
from small_graphs import classes, colliders, dags, graph, independences, key, named, random_dag, separated, union


def test_the_enumeration_is_whole():
    assert [len(dags(d)) for d in (1, 2, 3, 4)] == [1, 3, 25, 543]  # OEIS A003024
    assert [len(classes(d)) for d in (2, 3, 4)] == [2, 11, 185]  # OEIS A007984


@pytest.mark.parametrize("d", [2, 3, 4])
def test_the_cpdag_of_every_small_dag_is_the_union_of_its_class(d):
    for members in classes(d).values():
        expected = union(members)
        directed, undirected = meek.cpdag_of(np.stack(members))
        assert (directed == (expected & ~expected.T)).all()
        assert (undirected == (expected & expected.T)).all()
        assert np.array_equal(graph("DAG", members[-1]).cpdag().adjacency, expected)


def test_the_cpdag_of_sampled_dags_of_five_is_the_union_of_its_class():
    random = np.random.default_rng(0)
    pairs = list(combinations(range(5), 2))
    for _ in range(15):
        dag = random_dag(random, 5, random.uniform(0.3, 0.9))
        there = [(a, b) for a, b in pairs if dag[a, b] or dag[b, a]]
        members = []
        for flips in product((False, True), repeat=len(there)):
            other = np.zeros((5, 5), bool)
            for (a, b), flip in zip(there, flips, strict=True):
                other[(b, a) if flip else (a, b)] = True
            if key(other) == key(dag) and nx.is_directed_acyclic_graph(
                nx.from_numpy_array(other, create_using=nx.DiGraph)
            ):
                members.append(other)
        assert np.array_equal(graph("DAG", dag).cpdag().adjacency, union(members))


def partly_directed(d: int):
    """Every graph of arrows and lines."""
    pairs = list(combinations(range(d), 2))
    for states in product(range(4), repeat=len(pairs)):
        matrix = np.zeros((d, d), bool)
        for (a, b), state in zip(pairs, states, strict=True):
            matrix[a, b], matrix[b, a] = state & 1, state & 2
        yield matrix


@pytest.mark.parametrize("d", [3, 4])
def test_a_cpdag_is_accepted_exactly_where_it_is_the_union_of_a_class(d):
    real = {union(members).tobytes() for members in classes(d).values()}
    for matrix in partly_directed(d):
        try:
            graph("CPDAG", matrix)
            accepted = True
        except BadInput:
            accepted = False
        assert accepted == (matrix.tobytes() in real), matrix


def agreeing(matrix: np.ndarray) -> list[np.ndarray]:
    """The DAGs with these adjacencies and arrows and no other unshielded collider."""
    fixed, skeleton = matrix & ~matrix.T, matrix | matrix.T
    same = [dag for dag in dags(len(matrix)) if np.array_equal(dag | dag.T, skeleton) and not (fixed & ~dag).any()]
    return [dag for dag in same if colliders_within(dag, fixed)]


def colliders_within(dag: np.ndarray, fixed: np.ndarray) -> bool:
    return all(fixed[i, k] and fixed[j, k] for k, i, j in colliders(dag))


def test_an_extension_is_found_exactly_where_some_dag_agrees():
    for matrix in partly_directed(3):
        directed, undirected = matrix & ~matrix.T, matrix & matrix.T
        found = meek.extension(directed, undirected)
        expected = agreeing(matrix)
        assert (found is None) == (not expected)
        assert found is None or any(np.array_equal(found, dag) for dag in expected)
    for matrix in list(partly_directed(4))[::17]:
        found = meek.extension(matrix & ~matrix.T, matrix & matrix.T)
        expected = agreeing(matrix)
        assert (found is None) == (not expected)
        assert found is None or any(np.array_equal(found, dag) for dag in expected)


def test_knowledge_orients_all_that_the_agreeing_members_share():
    """Meek's completeness: after any arrows of a member were given, an edge stays open only where members differ."""
    random = np.random.default_rng(1)
    for members in classes(4).values():
        truth = members[random.integers(len(members))]
        pattern = graph("CPDAG", union(members))
        open_ = np.argwhere(pattern.undirected & truth)
        for count in range(1, min(3, len(open_)) + 1):
            given = open_[random.permutation(len(open_))[:count]]
            kept = [dag for dag in members if all(dag[i, j] for i, j in given)]
            names = pattern.names
            found = pattern.with_knowledge([(names[i], names[j]) for i, j in given])
            assert np.array_equal(found.adjacency, union(kept))
            assert found.kind == "MPDAG"
            assert found.cpdag() == pattern


def test_rule_4_alone_orients_its_own_figure():
    lines = [("A", "---", "D"), ("A", "---", "U"), ("A", "---", "C"), ("U", "---", "C"), ("C", "---", "D")]
    pattern = Graph.of("CPDAG", "AUCD", lines)
    found = pattern.with_knowledge([("U", "C"), ("C", "D")])
    assert "D" in found.children("A")
    directed = np.zeros((4, 4), bool)
    directed[1, 2] = directed[2, 3] = True
    undirected = pattern.undirected & ~directed & ~directed.T
    assert not meek.closure(directed, undirected)[0][0, 3]
    assert meek.closure(directed, undirected, knowledge=True)[0][0, 3]


def mixed(d: int):
    """Every graph of → and ↔, as marks."""
    pairs = list(combinations(range(d), 2))
    ends = [(0, 0), (2, 3), (3, 2), (2, 2)]
    for states in product(range(4), repeat=len(pairs)):
        marks = np.zeros((d, d), np.int8)
        for (a, b), state in zip(pairs, states, strict=True):
            marks[a, b], marks[b, a] = ends[state]
        yield marks


def test_mags_of_four_variables_are_as_many_as_there_are():
    """A MAG is ancestral, and some set separates every pair that is not adjacent."""
    accepted, looked = 0, 0
    for place, marks in enumerate(mixed(4)):
        try:
            Graph("MAG", named(4), marks)
            ok = True
        except BadInput:
            ok = False
        accepted += ok
        if place % 23 == 0:
            looked += 1
            assert ok == is_mag(marks), marks
    assert accepted == 2492
    assert looked > 150


def is_mag(marks: np.ndarray) -> bool:
    d = len(marks)
    directed = nx.from_numpy_array((marks == 2) & (marks.T == 3), create_using=nx.DiGraph)
    if not nx.is_directed_acyclic_graph(directed):
        return False
    if any(nx.has_path(directed, a, b) for a, b in np.argwhere((marks == 2) & (marks.T == 2))):
        return False
    free = {(a, b) for a, b, _ in independences(marks)}
    return all(marks[a, b] or (a, b) in free for a, b in combinations(range(d), 2))


def test_separation_is_what_the_paths_say():
    random = np.random.default_rng(2)
    looked = 0
    for marks in (m for m in mixed(4) if random.random() < 0.03):
        try:
            mag = Graph("MAG", named(4), marks)
        except BadInput:
            continue
        for a, b in combinations(range(4), 2):
            rest = [i for i in range(4) if i not in (a, b)]
            for given in [(), (rest[0],), (rest[1],), tuple(rest)]:
                expected = separated(marks, a, b, given)
                assert mag.separated(mag.names[a], mag.names[b], [mag.names[i] for i in given]) == expected
                looked += 1
    assert looked > 500
    dag = random_dag(random, 9, 0.3)
    made, plain = graph("DAG", dag), nx.from_numpy_array(dag, create_using=nx.DiGraph)
    for a, b in combinations(range(9), 2):
        given = [i for i in range(9) if i not in (a, b) and random.random() < 0.3]
        expected = nx.is_d_separator(plain, {a}, {b}, set(given))
        assert made.separated(made.names[a], made.names[b], [made.names[i] for i in given]) == expected


@pytest.mark.parametrize(
    ("kind", "edges", "why"),
    [
        ("DAG", "A-->B B-->C C-->A", "A → B → C → A is a directed cycle"),
        ("DAG", "A---B", "A --- B is no edge of a DAG; a DAG holds --> only"),
        ("CPDAG", "A-->B", "nothing in the graph compels A → B, so in a CPDAG it reads A — B"),
        ("CPDAG", "A---B B---C C---D D---A", "the undirected cycle .* has no chord"),
        ("CPDAG", "A-->B C-->B B---D", "A → B — D with A and D not adjacent .* reads B → D"),
        ("CPDAG", "A-->B B---C C---A", "A → B closes a partly directed cycle through B, C, A"),
        ("CPDAG", "A<->B", "A <-> B is no edge of a CPDAG"),
        ("MPDAG", "A-->B B---C", "B — C can only be B → C, so this is no MPDAG"),
        ("MPDAG", "A---B B---C C---D D---A", "no DAG agrees with all the arrows among A, B, C, D"),
        ("MAG", "A-->B B-->C A<->C", "A ↔ C while A → B → C is an almost directed cycle"),
        ("MAG", "A---B C-->B", "A — B with an arrow into B cannot stand in a MAG"),
        ("MAG", "A<->B B<->C C<->D B-->D C-->A", "A and D are not adjacent, yet nothing separates them"),
        ("MAG", "Ao->B", "A o-> B is no edge of a MAG"),
        ("PAG", "A-->B B-->C C-->A", "is a directed cycle"),
        ("PAG", "A-->B B-->C A<->C", "is an almost directed cycle, so this is no PAG"),
    ],
)
def test_what_is_no_graph_of_its_kind_is_refused_by_name(kind, edges, why):
    triples = [(edge[0], edge[1:-1], edge[-1]) for edge in edges.split()]
    with pytest.raises(BadInput, match=why):
        Graph.of(kind, "ABCD", triples)


def test_what_is_no_table_of_marks_is_refused():
    marks = np.zeros((2, 2), np.int8)
    with pytest.raises(BadInput, match="two variables are named 'A'"):
        Graph("DAG", ("A", "A"), marks)
    with pytest.raises(BadInput, match="variable 2 has an empty name"):
        Graph("DAG", ("A", ""), marks)
    with pytest.raises(BadInput, match="3 names do not fit marks of 2 variables"):
        Graph("DAG", ("A", "B", "C"), marks)
    with pytest.raises(BadInput, match="A has an edge to itself"):
        Graph.from_adjacency("DAG", np.eye(2), "AB")
    with pytest.raises(BadInput, match="the edge of A and B has one mark only"):
        Graph("DAG", ("A", "B"), np.array([[0, 2], [0, 0]], np.int8))
    with pytest.raises(BadInput, match="marks are 0 to 3, these hold 0 to 7"):
        Graph("DAG", ("A", "B"), np.array([[0, 7], [7, 0]], np.int8))
    with pytest.raises(BadInput, match="an adjacency matrix is square, this one is 2 × 3"):
        Graph.from_adjacency("DAG", np.zeros((2, 3)))
    with pytest.raises(BadInput, match="names 'C', which is no variable"):
        Graph.of("DAG", "AB", [("A", "-->", "C")])
    with pytest.raises(BadInput, match="B and A have two edges"):
        Graph.of("DAG", "AB", [("A", "-->", "B"), ("B", "-->", "A")])
    with pytest.raises(BadInput, match="'=>' is no sign of an edge"):
        Graph.of("DAG", "AB", [("A", "=>", "B")])


def test_what_a_class_cannot_answer_is_refused():
    pag = Graph.of("PAG", "ABC", [("A", "o->", "B")])
    with pytest.raises(BadInput, match="a PAG allows for hidden causes"):
        pag.adjacency
    with pytest.raises(BadInput, match="a PAG stands for many graphs"):
        pag.separated("A", "C")
    with pytest.raises(BadInput, match="'Z' is no variable of this graph; it has A, B, C"):
        pag.parents("Z")
    dag = Graph.of("DAG", "ABC", [("A", "-->", "B"), ("C", "-->", "B")])
    with pytest.raises(BadInput, match="A and B must differ from each other and from what is given"):
        dag.separated("A", "B", ["A"])
    with pytest.raises(BadInput, match="B → A contradicts the graph"):
        dag.cpdag().with_knowledge([("B", "A")])
    with pytest.raises(BadInput, match="are not the variables of this graph"):
        dag.reordered(["A", "B"])


def test_a_graph_says_what_it_holds_and_does_not_change():
    pag = Graph.of("PAG", "ABCD", [("B", "o->", "A"), ("B", "-->", "C"), ("A", "<->", "D"), ("C", "o-o", "D")])
    assert str(pag) == "PAG: B o-> A, A <-> D, B --> C, C o-o D"
    assert pag.parents("C") == ("B",)
    assert pag.children("B") == ("C",)
    assert pag.adjacent("D") == ("A", "C")
    assert pag.marks[1, 0] == Mark.ARROW
    assert pag.marks[0, 1] == Mark.CIRCLE
    assert pag.colliders == {("A", frozenset("BD"))}
    assert str(Graph.of("DAG", "AB")) == "DAG: A, B"
    with pytest.raises(ValueError, match="read-only"):
        pag.marks[0, 1] = 0


def test_order_and_construction_do_not_matter_to_equality():
    one = Graph.of("DAG", "ABC", [("A", "-->", "B"), ("C", "-->", "B")])
    two = Graph.of("DAG", "CBA", [("B", "<--", "C"), ("B", "<-", "A")])
    assert one == two
    assert hash(one) == hash(two)
    assert one == one.reordered("BCA")
    assert one != one.cpdag()
    assert one != Graph.of("DAG", "ABC", [("A", "-->", "B")])
    assert one != "DAG"


def test_the_rules_hold_for_a_large_random_graph_and_its_class():
    random = np.random.default_rng(3)
    for _ in range(20):
        dag = random_dag(random, 25, random.uniform(0.05, 0.4))
        pattern = graph("DAG", dag).cpdag()
        again = pattern.extension()
        assert again.cpdag() == pattern
        assert again.colliders == graph("DAG", dag).colliders
