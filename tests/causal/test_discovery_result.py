"""`Discovery`: its records, summary, files, and conversions for other packages."""

import csv
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from found_graphs import found_graph, unshielded
from intaglio.causal.formats.graph_texts import from_dagitty, from_dot, from_gml
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.results import discovery
from intaglio.causal.results.discovery import ARRAYS, Discovery
from intaglio.errors import BadInput
from small_graphs import classes, graph, union

seeds = st.integers(0, 10_000)


def chain(**changes) -> Discovery:
    """c → b written against the order of the names, and a — c; b also stands for d, and e is constant."""
    names = ("a", "b", "c", "d", "e")
    made = Graph.of("MPDAG", names, [("c", "-->", "b"), ("a", "---", "c")])
    adjacent, marks = np.zeros((5, 5)), np.full((5, 5, 3), 1 / 3)
    for i, j, p, shares in ((0, 2, 0.9, (0.2, 0.1, 0.7)), (1, 2, 0.8, (0.05, 0.85, 0.1)), (0, 1, 0.3, (0.5, 0.3, 0.2))):
        adjacent[i, j] = adjacent[j, i] = p
        marks[i, j], marks[j, i] = shares, (shares[1], shares[0], shares[2])
    frequencies = np.zeros((5, 5, 4))
    frequencies[1, 2], frequencies[2, 1] = (0.1, 0.2, 0.6, 0.1), (0.1, 0.6, 0.2, 0.1)
    frequencies[0, 2], frequencies[2, 0] = (0.0, 0.2, 0.0, 0.8), (0.0, 0.0, 0.2, 0.8)
    about = {
        "method": "sicl",
        "graph": made,
        "adjacent": adjacent,
        "marks": marks,
        "triples": np.array([[2, 0, 1]]),
        "colliders": np.array([0.25]),
        "spread": 0.1 * adjacent,
        "frequencies": frequencies,
        "conflicts": 1,
        "duplicates": (("b", "d"),),
        "isolated": ("e",),
        "warnings": ("mind e",),
        "rows": 1200,
        "seconds": 0.5,
        "ood_score": 0.25,
        "ood_reasons": ("rows 1,200, below 2,000",),
    }
    return Discovery(**{**about, **changes})


def test_an_edge_reads_in_its_own_direction_whatever_the_order_of_the_names():
    line, arrow = chain().edges
    assert (str(line), str(arrow)) == ("a --- c", "c --> b")
    assert (arrow.p_adjacent, arrow.p_forward, arrow.p_backward, arrow.p_undirected) == (0.8, 0.85, 0.05, 0.1)
    assert (arrow.p_mark, arrow.frequency, arrow.confidence) == (0.85, 0.6, 0.6)
    assert (line.p_mark, line.frequency, line.confidence) == (0.7, 0.8, 0.7)
    assert arrow.spread == pytest.approx(0.08)


def test_without_subsamples_confidence_is_of_adjacency_and_mark_alone():
    line, arrow = chain(frequencies=None, spread=None).edges
    assert (arrow.frequency, arrow.spread, arrow.confidence) == (None, None, 0.8)
    assert line.confidence == 0.7


@given(seeds, st.integers(1, 9))
def test_the_records_say_what_the_matrices_say(seed, d):
    found = found_graph(d, seed)
    told = {(edge.source, edge.mark, edge.target): edge for edge in found.edges}
    marks, names, count = found.graph.marks, found.names, 0
    for i in range(d):
        for j in range(i):
            if not marks[i, j]:
                continue
            count += 1
            a, b = (i, j) if marks[j, i] == 3 and marks[i, j] == 2 else (j, i)
            sign = "---" if marks[i, j] == marks[j, i] == 3 else "-->"
            edge = told[names[a], sign, names[b]]
            assert [edge.p_forward, edge.p_backward, edge.p_undirected] == found.marks[a, b].tolist()
            assert edge.p_adjacent == found.adjacent[i, j]
            place = 1 if sign == "-->" else 3
            assert edge.frequency == found.frequencies[a, b, place]
            assert edge.confidence == min(edge.p_adjacent, edge.p_mark, edge.frequency)
    assert count == len(told)
    assert {
        (t.centre, frozenset({t.leg1, t.leg2})) for t in found.triple_records if t.collider
    } == found.graph.colliders


def test_near_misses_are_the_pairs_without_an_edge_the_most_probable_first():
    found = chain()
    assert [asdict(pair) for pair in found.near_misses()] == [{"first": "a", "second": "b", "p_adjacent": 0.3}]
    assert found.near_misses(0.31) == ()
    many = found_graph(9, 3).near_misses(0.0)
    values = [pair.p_adjacent for pair in many]
    assert values == sorted(values, reverse=True)
    assert len(many) == 36 - len(found_graph(9, 3).edges)


def test_matrices_cannot_be_written_to_and_are_copies():
    found, given_matrix = chain(), np.zeros((5, 5))
    with pytest.raises(ValueError, match="read-only"):
        found.adjacent[0, 1] = 1
    kept = chain(adjacent=given_matrix)
    given_matrix[0, 1] = 1
    assert kept.adjacent[0, 1] == 0


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("adjacent", np.triu(np.full((5, 5), 0.5), 1), "symmetric"),
        ("adjacent", np.full((5, 5), 0.5), "zeros on its diagonal"),
        ("marks", np.full((5, 5, 3), 1.5), "marks must lie between 0 and 1"),
        ("colliders", np.array([np.nan]), "colliders must lie between 0 and 1"),
        ("triples", np.array([[2, 0, 5]]), "indices of the 5 variables"),
    ],
)
def test_what_does_not_fit_is_refused(field, value, words):
    with pytest.raises(ValueError, match=words):
        chain(**{field: value})


def test_the_summary_says_what_a_person_needs():
    text = str(chain())
    assert text.splitlines()[0] == (
        "MPDAG of 5 variables: 2 edges (1 directed, 1 undirected), 0 colliders; sicl on 1,200 rows, 0.5 s"
    )
    head, first, second = text.splitlines()[2:5]
    assert head.split("  ")[0] == "edge"
    assert first.split() == ["a", "---", "c", "0.90", "±", "0.09", "0.70", "0.80", "0.70"]
    assert second.split() == ["c", "-->", "b", "0.80", "±", "0.08", "0.85", "0.60", "0.60"]
    for words in (
        "the data cannot tell the direction",
        "a, b 0.30",
        "e (constant), d (the same as b)",
        "1 probable collider contradicted more probable ones",
        "Probability that the graph is worse than the empty graph: 25%",
        "rows 1,200, below 2,000",
        "Warning: mind e",
    ):
        assert words in text


def test_an_empty_graph_and_a_certain_probability_are_said_plainly():
    empty = found_graph(graph=Graph.of("CPDAG", ("a", "b")), subsamples=False)
    assert "No two columns were found to be adjacent." in str(empty)
    assert "--- means" not in str(empty)
    sure = replace(chain(), adjacent=np.where(chain().adjacent == 0.9, 0.9999, chain().adjacent))
    assert ">0.99" in str(sure), "a probability that is not 1 is not written as 1"


def test_frames_keep_names_and_the_usual_code():
    found = chain()
    matrix = found.adjacency_frame()
    assert list(matrix.index) == list(matrix.columns) == list(found.names)
    assert matrix.loc["c", "b"] == 1
    assert matrix.loc["b", "c"] == 0
    assert matrix.loc["a", "c"] == matrix.loc["c", "a"] == 1
    assert matrix.to_numpy().sum() == 3
    edges = found.to_frame().set_index(["source", "target"])
    assert edges.loc[("c", "b"), "p_forward"] == 0.85
    assert found.skeleton_frame().loc["c", "a"] == 0.9
    assert found.collider_frame().to_dict("records") == [
        {"centre": "c", "leg1": "a", "leg2": "b", "p_collider": 0.25, "collider": False}
    ]
    pairs = found.mark_frame().set_index(["first", "second"])
    assert len(pairs) == 10
    assert pairs.loc[("b", "c")].tolist() == [0.05, 0.85, 0.1]


def test_networkx_has_the_numbers_in_the_direction_of_each_arc():
    made = chain().to_networkx()
    assert set(made) == {"a", "b", "c", "d", "e"}
    assert set(made.edges) == {("c", "b"), ("a", "c"), ("c", "a")}
    assert made["c"]["b"]["p_forward"] == 0.85
    assert (made["a"]["c"]["p_forward"], made["a"]["c"]["p_backward"]) == (0.2, 0.1)
    assert (made["c"]["a"]["p_forward"], made["c"]["a"]["p_backward"]) == (0.1, 0.2)
    assert made["c"]["a"]["p_adjacent"] == made["a"]["c"]["p_adjacent"] == 0.9
    assert "frequency" not in found_graph(3, subsamples=False, per_node=2).to_networkx().graph


def test_pgmpy_gets_the_same_graph():
    pytest.importorskip("pgmpy")
    found = found_graph(7, 5)
    made = found.to_pgmpy()
    assert set(made.nodes()) == set(found.names)
    assert set(made.directed_edges) == {(e.source, e.target) for e in found.edges if e.mark == "-->"}


def test_causal_learn_gets_the_same_graph():
    pytest.importorskip("causallearn")
    found = found_graph(7, 5)
    made = found.to_causallearn()
    assert [node.get_name() for node in made.get_nodes()] == list(found.names)
    heads = {(e.source, e.target) for e in found.edges if e.mark == "-->"}
    arrows = {(found.names[j], found.names[i]) for i, j in np.argwhere(made.graph == 1)}
    assert arrows == heads, "causal-learn keeps the mark at the row's end"
    assert (made.graph != 0).sum() == 2 * len(found.edges)
    assert found.to_pcalg().sum() == found.graph.adjacency.sum()


@pytest.mark.parametrize("d", [2, 3, 4])
def test_a_sampled_dag_is_in_the_class_and_every_member_comes(d):
    for members in sorted(classes(d).values(), key=len)[:: -(6 ** (d - 2))]:
        found = found_graph(graph=graph("CPDAG", union(members)))
        drawn = {found.sample_dag(seed).directed.tobytes() for seed in range(14 * len(members))}
        assert drawn == {member.tobytes() for member in members}


def test_a_sampled_dag_keeps_what_was_known_and_belongs_to_its_seed():
    whole = Graph.of("CPDAG", "abcd", [(x, "---", y) for x, y in ("ab", "bc", "cd", "ac", "bd")])
    known = whole.with_knowledge([("a", "b")])
    found = found_graph(graph=known)
    drawn = [found.sample_dag(seed) for seed in range(60)]
    assert all(dag.directed[0, 1] and dag.cpdag() == whole for dag in drawn)
    assert found.sample_dag(3) == found.sample_dag(3)
    assert len({str(dag) for dag in drawn}) > 1


def test_the_score_is_of_the_class():
    found = found_graph(8, 2)
    perfect = found.score(found.sample_dag(1))
    assert (perfect.shd, perfect.skeleton.f1, perfect.orientation.f1, perfect.colliders.f1) == (0, 1, 1, 1)
    nothing = found.score(Graph.of("DAG", found.names))
    assert nothing.shd == len(found.edges)
    with pytest.raises(BadInput, match="other"):
        found.score(Graph.of("DAG", ("other",)))


def check_same(one: Discovery, two: Discovery) -> None:
    assert one.names == two.names
    assert one.graph == two.graph
    for name in ARRAYS:
        a, b = getattr(one, name), getattr(two, name)
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)
    for name in (
        "method",
        "conflicts",
        "fallback",
        "ood_reasons",
        "duplicates",
        "isolated",
        "warnings",
        "rows",
        "seconds",
    ):
        assert getattr(one, name) == getattr(two, name)
    assert np.array_equal(one.ood_score, two.ood_score, equal_nan=True)


@given(seeds, st.integers(1, 8), st.booleans())
def test_json_holds_every_number_exactly(seed, d, subsamples):
    found = found_graph(d, seed, subsamples=subsamples, ood_score=float("nan") if seed % 2 else 0.25)
    text = json.dumps(found.to_dict(), allow_nan=False)
    check_same(Discovery.from_dict(json.loads(text)), found)


def test_a_folder_has_every_format_and_gives_it_back(tmp_path):
    found = chain()
    found.save(tmp_path / "graph")
    check_same(Discovery.load(tmp_path / "graph"), found)
    check_same(Discovery.load(tmp_path / "graph" / "graph.json"), found)
    text = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "graph").iterdir()}
    assert set(text) == {
        "graph.json",
        "edges.csv",
        "colliders.csv",
        "graph.gml",
        "graph.dot",
        "graph.dagitty.txt",
        "graph.svg",
    }
    for read in (from_gml(text["graph.gml"]), from_dot(text["graph.dot"])):
        assert read == found.graph
    assert from_dagitty(text["graph.dagitty.txt"]) == found.graph
    assert "p_forward 0.85" in text["graph.gml"]
    rows = list(csv.DictReader(text["edges.csv"].splitlines()))
    assert [row["p_adjacent"] for row in rows if row["target"]] == ["0.9", "0.8"]
    (row,) = csv.DictReader(text["colliders.csv"].splitlines())
    assert (row["centre"], row["p_collider"]) == ("c", "0.25")
    assert "0.80" in text["graph.svg"]
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    old, new = chain(), found_graph(6, 1)
    old.save(tmp_path / "graph")
    monkeypatch.setattr(discovery, "to_dot", lambda graph: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        new.save(tmp_path / "graph")
    check_same(Discovery.load(tmp_path / "graph"), old)
    monkeypatch.undo()
    new.save(tmp_path / "graph")
    check_same(Discovery.load(tmp_path / "graph"), new)


def test_another_s_folder_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match="holds no causal graph"):
        chain().save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("{", "is no readable JSON"),
        ("[]", "no discovery of format 1"),
        ('{"format": 2}', "no discovery of format 1"),
        ('{"format": 1}', "lacks 'graph'"),
        ("short", "is damaged"),
        ("cycle", "cycle"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, words):
    if text is not None:
        plain = chain().to_dict()
        if text == "short":
            text = json.dumps({**plain, "adjacent": [[0.0]]})
        if text == "cycle":
            edges = [["a", "-->", "b"], ["b", "-->", "c"], ["c", "-->", "a"]]
            text = json.dumps({**plain, "graph": {**plain["graph"], "edges": edges}})
        (tmp_path / "graph.json").write_text(text)
    with pytest.raises(BadInput, match=words):
        Discovery.load(tmp_path)


def test_the_scenes_of_these_tests_are_discoveries():
    found = found_graph(8, 1)
    assert {tuple(triple) for triple in found.triples.tolist()} == set(
        map(tuple, unshielded(found.graph.skeleton).tolist())
    )
    assert found.graph.kind == "CPDAG"


def test_a_notebook_shows_the_drawing_and_the_edges():
    found = found_graph()
    shown = found._repr_html_()
    assert "<svg" in shown
    assert "http" not in shown.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert shown.count("<tr>") == 1 + min(12, len(found.edges))
