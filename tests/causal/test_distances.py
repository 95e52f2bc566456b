from itertools import combinations

import numpy as np
import pytest

from intaglio.causal.graphs.distances import (
    Overlap,
    compare,
    compare_pags,
    edge_overlap,
    mark_overlap,
    orientation_overlap,
    shd,
    shd_marks,
    skeleton_overlap,
)
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark
from intaglio.errors import BadInput
from small_graphs import classes, dags, graph, union


def relation(matrix: np.ndarray, a: int, b: int) -> tuple[bool, bool]:
    return bool(matrix[a, b]), bool(matrix[b, a])


def f1(truth: set, estimate: set) -> float:
    if not truth and not estimate:
        return 1.0
    right = len(truth & estimate)
    precision = right / len(estimate) if estimate else 0.0
    recall = right / len(truth) if truth else 0.0
    return 2 * precision * recall / (precision + recall) if right else 0.0


def arrows(matrix: np.ndarray) -> set:
    return {(i, j) for i, j in np.argwhere(matrix & ~matrix.T).tolist()}


def pairs(matrix: np.ndarray) -> set:
    return {frozenset(pair) for pair in np.argwhere(matrix | matrix.T).tolist()}


def test_distances_of_small_cpdags_are_what_counting_gives():
    random = np.random.default_rng(0)
    found = [union(members) for members in classes(4).values()]
    for _ in range(150):
        one, two = (found[k] for k in random.integers(len(found), size=2))
        seen = compare(graph("CPDAG", one), graph("CPDAG", two))
        wrong = [(a, b) for a, b in combinations(range(4), 2) if relation(one, a, b) != relation(two, a, b)]
        missed = [(a, b) for a, b in combinations(range(4), 2) if any(relation(one, a, b)) != any(relation(two, a, b))]
        assert seen.shd == len(wrong)
        assert seen.skeleton_accuracy == pytest.approx(1 - len(missed) / 6)
        assert seen.skeleton.f1 == pytest.approx(f1(pairs(one), pairs(two)))
        assert seen.orientation.f1 == pytest.approx(f1(arrows(one), arrows(two)))
        assert seen.skeleton.precision == len(pairs(one) & pairs(two)) / max(1, len(pairs(two))) or not pairs(two)


def test_colliders_of_dags_are_counted_in_their_classes():
    random = np.random.default_rng(1)
    for _ in range(60):
        one, two = (dags(4)[k] for k in random.integers(543, size=2))
        seen = compare(graph("DAG", one), graph("DAG", two))

        def triples(dag: np.ndarray) -> set:
            return {
                (k, i, j)
                for k in range(4)
                for i, j in combinations(range(4), 2)
                if dag[i, k] and dag[j, k] and not dag[i, j] and not dag[j, i]
            }

        legs = [{(leg, k) for k, i, j in triples(dag) for leg in (i, j)} for dag in (one, two)]
        assert seen.colliders.f1 == pytest.approx(f1(triples(one), triples(two)))
        assert seen.collider_arrows.f1 == pytest.approx(f1(*legs))
        assert seen == compare(graph("DAG", one).cpdag(), graph("DAG", two).cpdag())


def test_a_reversed_arrow_is_one_error_between_dags_and_may_be_none_between_classes():
    one = Graph.of("DAG", "AB", [("A", "-->", "B")])
    two = Graph.of("DAG", "AB", [("B", "-->", "A")])
    assert shd(one, two) == 1
    assert shd_marks(one, two) == 2
    assert compare(one, two).shd == 0
    assert orientation_overlap(one, two) == Overlap(0, 1, 1)
    with pytest.raises(BadInput, match="a DAG and a CPDAG have no common distance"):
        shd(one, two.cpdag())


def test_empty_sets_are_said_to_be_undefined():
    empty = Graph.of("CPDAG", "ABC")
    one = Graph.of("CPDAG", "ABC", [("A", "---", "B")])
    seen = compare(empty, empty)
    assert (seen.skeleton.f1, seen.skeleton.f1_or_zero, seen.skeleton.defined) == (1.0, 0.0, False)
    assert (seen.skeleton.precision, seen.skeleton.recall) == (1.0, 1.0)
    assert compare(one, empty).skeleton == Overlap(0, 0, 1)
    assert (Overlap(0, 0, 1).precision, Overlap(0, 0, 1).recall, Overlap(0, 0, 1).f1) == (0.0, 0.0, 0.0)
    assert (Overlap(0, 2, 0).precision, Overlap(0, 2, 0).recall) == (0.0, 0.0)
    assert compare(Graph.of("DAG", "A"), Graph.of("DAG", "A")).skeleton_accuracy == 1.0


def test_marks_of_pags_are_counted_end_by_end():
    truth = Graph.of("PAG", "ABCD", [("A", "o->", "B"), ("B", "-->", "C"), ("C", "<->", "D")])
    estimate = Graph.of("PAG", "DCBA", [("A", "-->", "B"), ("B", "-->", "C"), ("A", "o-o", "D")])
    assert skeleton_overlap(truth, estimate) == Overlap(2, 3, 3)
    assert edge_overlap(truth, estimate) == Overlap(1, 3, 3)
    assert mark_overlap(truth, estimate, Mark.ARROW) == Overlap(2, 2, 4)
    assert mark_overlap(truth, estimate, Mark.TAIL) == Overlap(1, 2, 1)
    assert mark_overlap(truth, estimate, Mark.CIRCLE) == Overlap(0, 2, 1)
    assert shd(truth, estimate) == 3
    assert shd_marks(truth, estimate) == 1 + 2 + 2


def test_other_variables_are_refused():
    with pytest.raises(BadInput, match="only one of the two graphs has C"):
        shd(Graph.of("DAG", "AB"), Graph.of("DAG", "ABC"))
    with pytest.raises(BadInput, match="a MAG or PAG has other marks"):
        compare(Graph.of("PAG", "AB"), Graph.of("PAG", "AB"))


def test_pags_are_compared_by_pairs_marks_and_kinds_of_marks():
    truth = Graph.of("PAG", "abcd", [("a", "o->", "b"), ("b", "<->", "c"), ("c", "-->", "d")])
    estimate = Graph.of("PAG", "abcd", [("a", "-->", "b"), ("b", "<->", "c"), ("b", "o-o", "d")])
    seen = compare_pags(truth, estimate)
    assert (seen.shd, seen.shd_marks) == (3, 1 + 2 + 2)
    assert seen.figures() == {
        "shd": 3,
        "shd_marks": 5,
        "skeleton_f1": pytest.approx(2 / 3),
        "pag_f1": pytest.approx(1 / 3),
        "arrowhead_f1": pytest.approx(2 * 3 / (4 + 3)),  # b of a–b, b and c of b–c are shared
        "tail_f1": 0.0,
    }
    assert compare_pags(truth, truth).figures() == dict(zip(seen.figures(), (0, 0, 1.0, 1.0, 1.0, 1.0), strict=True))
    nothing = Graph.of("PAG", "abcd")
    assert compare_pags(nothing, nothing).figures()["skeleton_f1"] == 0.0


def test_a_pag_is_compared_with_what_a_dag_shows_of_it_where_the_rest_is_hidden():
    whole = Graph.of("DAG", "hxyz", [("h", "-->", "x"), ("h", "-->", "y"), ("z", "-->", "y"), ("z", "-->", "x")])
    shown = compare_pags(whole, Graph.of("PAG", "zyx", [("x", "o-o", "y"), ("z", "o-o", "x"), ("z", "o-o", "y")]))
    assert shown.shd == 0
    with pytest.raises(BadInput, match="'w' is no variable of the DAG"):
        compare_pags(whole, Graph.of("PAG", "wx"))
    with pytest.raises(BadInput, match="no PAG of its own"):
        compare_pags(Graph.of("CPDAG", "ab", [("a", "---", "b")]), Graph.of("PAG", "ab"))
