"""`Discovery` of a PAG: records with the marks at both ends, frames, files, conversions, scores."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from found_graphs import found_graph, found_pag
from intaglio.causal.formats.graph_files import read_graph
from intaglio.causal.formats.matrices import from_pcalg_matrix
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.results import text
from intaglio.causal.results.discovery import Discovery
from intaglio.errors import BadInput

seeds = st.integers(0, 10_000)
EVERY_SIGN = Graph.of(
    "PAG", ("a", "b", "c", "d", "e"), [("a", "o->", "b"), ("b", "<->", "d"), ("d", "-->", "c"), ("e", "o-o", "a")]
)


def test_an_edge_tells_the_marks_at_both_of_its_ends():
    shares = np.full((5, 5, 3), 1 / 3)
    shares[0, 1], shares[1, 0] = (0.9, 0.1, 0.0), (0.2, 0.1, 0.7)  # an arrow at b, a circle at a
    shares[3, 2], shares[2, 3] = (0.8, 0.0, 0.2), (0.05, 0.6, 0.35)  # d --> c
    edges = {str(edge): edge for edge in found_pag(graph=EVERY_SIGN, marks=shares).edges}
    assert set(edges) == {"a o-> b", "b <-> d", "d --> c", "a o-o e"}
    half = edges["a o-> b"]
    assert (half.p_source_arrow, half.p_source_tail, half.p_source_circle) == (0.2, 0.1, 0.7)
    assert (half.p_target_arrow, half.p_target_tail, half.p_target_circle) == (0.9, 0.1, 0.0)
    assert half.p_marks == (0.7, 0.9)
    assert edges["d --> c"].p_marks == (0.6, 0.8)
    assert edges["d --> c"].confidence == min(0.6, edges["d --> c"].p_adjacent)


@given(seeds, st.integers(2, 8))
def test_records_and_frames_say_what_the_matrices_say(seed, d):
    found = found_pag(d, seed)
    names = list(found.names)
    for edge in found.edges:
        i, j = names.index(edge.source), names.index(edge.target)
        assert [edge.p_source_arrow, edge.p_source_tail, edge.p_source_circle] == found.marks[j, i].tolist()
        assert [edge.p_target_arrow, edge.p_target_tail, edge.p_target_circle] == found.marks[i, j].tolist()
        assert edge.confidence == min(edge.p_adjacent, *edge.p_marks)
    pairs = found.mark_frame()
    assert len(pairs) == d * (d - 1) // 2
    for row in pairs.itertuples():
        i, j = names.index(row.first), names.index(row.second)
        assert [row.p_first_arrow, row.p_first_tail, row.p_first_circle] == found.marks[j, i].tolist()
        assert [row.p_second_arrow, row.p_second_tail, row.p_second_circle] == found.marks[i, j].tolist()
    assert np.array_equal(found.adjacency_frame().to_numpy(), found.graph.marks)


def test_visible_arrows_are_told():
    visible = Graph.of("PAG", "abcd", [("a", "o->", "c"), ("b", "o->", "c"), ("c", "-->", "d")])
    assert {str(edge): edge.visible for edge in found_pag(graph=visible).edges} == {
        "a o-> c": False,
        "b o-> c": False,
        "c --> d": True,
    }


@pytest.mark.parametrize("graph", [EVERY_SIGN, Graph.of("PAG", ("a", "b")), *(found_pag(7, k).graph for k in range(4))])
def test_every_file_is_read_back_as_the_pag_that_was_saved(tmp_path, graph):
    found = found_pag(graph=graph)
    found.save(tmp_path / "result")
    for name in ("graph.json", "graph.gml", "graph.dot", "graph.dagitty.txt", "edges.csv"):
        assert read_graph(tmp_path / "result" / name, graph.names) == graph, name
    again = Discovery.load(tmp_path / "result")
    assert again.to_dict() == found.to_dict()
    assert np.array_equal(again.marks, found.marks)
    assert again.reading == "Shares of restarts."
    assert from_pcalg_matrix(found.to_pcalg(), "PAG", graph.names) == graph


def test_the_list_of_edges_has_a_column_for_each_mark_at_each_end():
    rows = list(csv.DictReader(io.StringIO(found_pag(graph=EVERY_SIGN).to_files()["edges.csv"])))
    assert {row["mark"] for row in rows} == {"o->", "<->", "-->", "o-o"}
    assert {row["graph"] for row in rows} == {"PAG"}
    assert {"p_source_circle", "p_target_arrow", "visible"} <= rows[0].keys()


def test_a_file_of_an_older_version_reads_as_calibrated():
    plain = json.loads(found_graph(5).to_files()["graph.json"])
    del plain["reading"]
    assert Discovery.from_dict(plain).reading == text.CALIBRATED


def test_the_drawing_has_rings_and_both_arrowheads():
    drawn = found_pag(graph=EVERY_SIGN).to_svg()
    assert drawn.count('class="ring"') == 3  # one at a of a o-> b, two of e o-o a
    assert drawn.count('class="tip"') == 4
    assert drawn.count('class="both') == 1


def test_the_summary_explains_the_signs_that_stand_in_it():
    words = str(found_pag(graph=EVERY_SIGN))
    assert "PAG of 5 variables: 4 edges (1 -->, 1 <->, 1 o->, 1 o-o)" in words
    for sign in (
        "a --> b: a is a cause",
        "a <-> b: neither",
        "a o-> b: b is no cause of a; a is a cause of b, or a hidden cause of both joins them, or both",
        "a o-o b: one is a cause of the other, or",
    ):
        assert sign in words
    assert "Shares of restarts." in words
    assert "first mark  second mark" in words
    only = str(found_pag(graph=Graph.of("PAG", "ab", [("a", "o-o", "b")])))
    assert "a <-> b" not in only
    assert "No two columns were found to be adjacent." in str(found_pag(graph=Graph.of("PAG", "ab")))


def test_a_pag_is_scored_against_a_dag_with_hidden_variables():
    whole = Graph.of("DAG", "habc", [("h", "-->", "a"), ("h", "-->", "b"), ("c", "-->", "b")])
    found = found_pag(graph=Graph.of("PAG", "abc", [("a", "o->", "b"), ("c", "o->", "b")]))
    assert found.score(whole).shd == 0
    assert found.score(whole).figures()["pag_f1"] == 1.0


def test_what_a_pag_cannot_be_is_refused_in_a_sentence():
    found = found_pag(graph=EVERY_SIGN)
    with pytest.raises(BadInput, match="hidden causes"):
        found.sample_dag()
    with pytest.raises(BadInput, match="hidden causes"):
        found.to_pgmpy()
    with pytest.raises(ValueError, match="frequencies"):
        found_pag(graph=EVERY_SIGN, frequencies=np.zeros((5, 5, 4)))


@given(seeds)
def test_networkx_has_the_numbers_of_each_direction(seed):
    found = found_pag(6, seed)
    made = found.to_networkx()
    for edge in found.edges:
        arc = made.edges[edge.source, edge.target]
        assert arc["p_target_arrow"] == edge.p_target_arrow
        if edge.mark in ("<->", "o-o"):
            assert made.edges[edge.target, edge.source]["p_source_arrow"] == edge.p_target_arrow
