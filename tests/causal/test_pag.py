"""The PAG of a MAG, against the marks that all MAGs with the same m-separations share."""

from itertools import permutations

import numpy as np
import pytest

from intaglio.causal.graphs import pag
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.pag import pag_marks
from intaglio.errors import BadInput
from mixed_graphs import are_mags, class_of, mags, random_mixed, separations, shared
from small_graphs import dags, graph, named


def relabelled(mag: np.ndarray) -> set[bytes]:
    return {mag[np.ix_(order, order)].tobytes() for order in permutations(range(len(mag)))}


def test_every_mag_of_up_to_four_has_the_pag_of_its_class():
    """All of them up to the names of the variables; that those do not matter is the next test."""
    assert [len(mags(d)) for d in (2, 3, 4)] == [4, 56, 2492]
    for d, classes in ((2, 2), (3, 11), (4, 248)):
        _, places = np.unique(separations(mags(d)), axis=0, return_inverse=True)
        assert places.max() + 1 == classes
        seen: set[bytes] = set()
        for mag, place in zip(mags(d), places, strict=True):
            if mag.tobytes() not in seen:
                seen |= relabelled(mag)
                assert np.array_equal(pag_marks(mag), shared(mags(d)[places == place]))
        assert len(seen) == len(mags(d))


def test_the_pags_of_sampled_mags_of_five_are_what_their_classes_share():
    random, seen = np.random.default_rng(0), 0
    while seen < 12:
        mag = ADMG(named(5), *random_mixed(random, 5, 0.35)).mag().marks
        if 4 <= np.triu(mag != 0).sum() <= 7:
            assert np.array_equal(pag_marks(mag), shared(class_of(mag)))
            seen += 1


def test_a_mag_and_its_pag_are_labelled_by_chance():
    random = np.random.default_rng(1)
    for _ in range(20):
        mag = ADMG(named(9), *random_mixed(random, 9, 0.3)).mag()
        order = random.permutation(9)
        block = np.ix_(order, order)
        assert np.array_equal(pag_marks(mag.marks)[block], pag_marks(mag.marks[block]))


def test_the_pag_of_a_larger_mag_is_that_of_each_equivalent_one():
    """Other marks on one edge give an equivalent MAG or none; m-separations on six variables tell which."""
    random, turned = np.random.default_rng(4), 0
    for _ in range(8):
        mag = ADMG(named(6), *random_mixed(random, 6, 0.3)).mag().marks
        pairs = np.argwhere(np.triu(mag != 0))
        changed = np.repeat(mag[None], 3 * len(pairs), 0)
        for k, (a, b) in enumerate(np.repeat(pairs, 3, 0)):
            changed[k, b, a], changed[k, a, b] = ((3, 2), (2, 3), (2, 2))[k % 3]
        alike = changed[(separations(changed) == separations(mag[None])).all(1) & are_mags(changed)]
        turned += len(alike) - len(pairs)  # each edge also keeps its marks once
        assert all(np.array_equal(pag_marks(other), pag_marks(mag)) for other in alike)
    assert turned > 10


def test_rule_10_orients_where_no_other_does():
    """a → b → c ← d ← a with b and d apart: a ↔ c would make a an ancestor of c, whichever way the edges at a point."""
    edges = [("a", "-->", "b"), ("a", "-->", "c"), ("a", "-->", "d"), ("b", "-->", "c"), ("d", "-->", "c")]
    mag = Graph.of("MAG", "abcde", [*edges, ("e", "-->", "a"), ("e", "-->", "b"), ("e", "-->", "d")])
    expected = shared(class_of(mag.marks))
    assert expected[2, 0] == 3
    assert np.array_equal(mag.pag().marks, expected)
    undecided = expected.copy()
    undecided[2, 0] = 1
    pag.rules_9_and_10(undecided, mag.marks)
    assert undecided[2, 0] == 3


def test_rule_8_follows_from_what_is_known():
    """Of three that are all adjacent nothing is known from data; with a → b → c known, a → c follows."""
    mag = Graph.of("MAG", "abc", [("a", "-->", "b"), ("b", "-->", "c"), ("a", "-->", "c")])
    assert {str(edge) for edge in mag.pag().edges} == {"a o-o b", "b o-o c", "a o-o c"}
    known = np.zeros((3, 3), bool)
    known[[0, 1, 1, 2], [1, 0, 2, 1]] = True
    assert {str(edge) for edge in mag.pag(known).edges} == {"a --> b", "b --> c", "a --> c"}
    planted = np.array([[0, 2, 2], [3, 0, 2], [1, 3, 0]], np.int8)
    pag.rule_8(planted, planted)
    assert planted[2, 0] == 3


def test_known_marks_are_what_the_members_that_agree_share():
    """Sound: whatever mark stands in the result, all members with the known marks have it."""
    random = np.random.default_rng(2)
    for mag in random.permutation(mags(4))[:120]:
        known = (mag != 0) & (random.random(mag.shape) < 0.3)
        members = class_of(mag)
        agreeing = shared(members[(members == mag)[:, known].all(1)])
        found = pag_marks(mag, known)
        told = found != 1
        assert (found[told] == agreeing[told]).all()
        assert (found[known] == mag[known]).all()


def test_a_dag_without_hidden_causes_has_the_arrows_of_its_cpdag_only_where_no_hidden_cause_could_be():
    for dag in dags(4)[::20]:
        made = graph("DAG", dag).pag()
        arrows = made.directed
        assert (arrows <= graph("DAG", dag).cpdag().directed).all()


@pytest.mark.parametrize("kind", ["CPDAG", "MPDAG"])
def test_a_class_of_dags_has_no_pag_of_its_own(kind):
    with pytest.raises(BadInput, match="no PAG of its own"):
        Graph.of(kind, "ab", [("a", "---", "b")]).pag()
    with pytest.raises(BadInput, match="without undirected edges"):
        Graph.of("MAG", "ab", [("a", "---", "b")]).pag()
    assert Graph.of("PAG", "ab", [("a", "o-o", "b")]).pag() == Graph.of("PAG", "ab", [("a", "o-o", "b")])


def test_an_arrow_is_visible_exactly_where_a_hidden_cause_besides_would_show_in_every_member():
    seen = set()
    for members in (class_of(mag) for mag in np.random.default_rng(3).permutation(mags(4))[:60]):
        told = pag.visible_edges(shared(members))
        arrows = (shared(members) == 2) & (shared(members).T == 3)
        for i, j in np.argwhere(arrows):
            double = np.zeros((4, 4), bool)
            double[i, j] = double[j, i] = True
            shows = []
            for member in members:
                made = ADMG.from_graph(Graph("MAG", named(4), member))
                more = ADMG(made.names, made.directed, made.bidirected | double).mag()
                shows.append(more.marks.tobytes() != member.tobytes())
            assert told[i, j] == all(shows)
            seen.add(bool(told[i, j]))
        assert not (told & ~arrows).any()
    assert seen == {True, False}


def test_a_collider_on_the_way_must_be_a_parent_for_an_arrow_to_be_visible():
    """t → x ↔ a → c: with x → c the arrow a → c is visible, with x ↔ c a hidden cause of a and c would not show."""
    ways = [("t", "-->", "x"), ("x", "<->", "a"), ("a", "-->", "c")]
    for sign, expected in (("-->", True), ("<->", False)):
        mag = ADMG.of("txac", [*ways, ("x", sign, "c")]).mag()
        double = np.zeros((4, 4), bool)
        double[2, 3] = double[3, 2] = True
        made = ADMG.from_graph(mag)
        shows = ADMG(made.names, made.directed, made.bidirected | double).mag() != mag
        assert pag.visible_edges(mag.marks)[2, 3] == shows == expected
