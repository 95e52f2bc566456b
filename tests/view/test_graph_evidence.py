"""The evidence that the page of a causal graph shows for each edge."""

import re
from dataclasses import replace

import pytest

from found_graphs import found_graph, found_pag
from intaglio.causal.formats.svg import probability_text
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.results.changes import Changes, PairTest
from intaglio.view.graph_page import STYLE_SHEET, graph_view


def seen(found, folder):
    found.save(folder / "result")
    return graph_view(folder)


def test_each_edge_of_the_drawing_leads_to_its_own_numbers(tmp_path):
    found = found_graph(9)
    view = seen(found, tmp_path)
    records = {frozenset({edge.source, edge.target}): edge for edge in found.edges}
    linked = re.findall(
        r'<a href="#(edge-\d+)" aria-label="(.+?) (?:--&gt;|---|&lt;--) (.+?), p = ([\d.]+)">', view.drawing
    )
    assert len(linked) == len(found.edges) == len(view.edges)
    listed = {edge.mark: edge for edge in view.edges}
    for mark, first, second, p in linked:
        edge, record = listed[mark], records[frozenset({first, second})]
        assert {edge.source, edge.target} == {first, second}
        assert float(p) == pytest.approx(record.p_adjacent, rel=0.01)
        facts = dict(edge.facts)
        assert facts["adjacent"].split()[0] == probability_text(record.p_adjacent)
        assert facts[f"{record.source} → {record.target}"] == probability_text(record.p_forward)
        assert facts[f"{record.target} → {record.source}"] == probability_text(record.p_backward)
        assert edge.weak == (record.confidence < 0.5)
    probabilities = [records[frozenset({edge.source, edge.target})].p_adjacent for edge in view.edges]
    assert probabilities == sorted(probabilities, reverse=True)


def test_an_edge_names_the_triples_that_it_is_a_leg_of(tmp_path):
    found = found_graph(9)
    view = seen(found, tmp_path)
    for edge in view.edges:
        ends = {edge.source, edge.target}
        own = [t for t in found.triple_records if t.centre in ends and ends & {t.leg1, t.leg2}]
        assert [drawn for drawn, _ in edge.triples] == [f"{t.leg1}, {t.centre}, {t.leg2}" for t in own]
        assert all(("causes that meet" in what) == t.collider for (_, what), t in zip(edge.triples, own, strict=True))
    assert any(edge.triples for edge in view.edges)


def test_a_graph_with_hidden_causes_tells_the_marks_at_both_ends(tmp_path):
    found = found_pag(8)
    view = seen(found, tmp_path)
    facts = dict(view.edges[0].facts)
    record = next(e for e in found.edges if {e.source, e.target} == {view.edges[0].source, view.edges[0].target})
    shares = (record.p_target_arrow, record.p_target_circle, record.p_target_tail)
    words = ", ".join(
        f"{name} {probability_text(p)}" for name, p in zip(("arrowhead", "ring", "tail"), shares, strict=True)
    )
    assert facts[f"at {record.target}"] == words


def test_an_edge_that_tests_decided_on_has_a_p_value_and_no_probability(tmp_path):
    graph, pairs = Graph.of("CPDAG", "ab", [("a", "---", "b")]), (PairTest("a", "b", True, 0.004, ()),)
    changes = Changes("site", "domain", "partial-correlation", 0.05, changing=(), tests=1, pairs=pairs)
    view = seen(replace(found_graph(graph=graph, subsamples=False), changes=changes), tmp_path)
    (edge,) = view.edges
    assert (edge.value, edge.bar, dict(edge.facts)["largest p"]) == ("0.004", None, "0.004")
    assert "p = " not in view.drawing


def test_the_drawing_s_style_is_the_one_that_the_policy_lets_through(tmp_path):
    styles = re.findall(r"<style>(.*?)</style>", seen(found_graph(5), tmp_path).drawing, re.DOTALL)
    assert styles == [STYLE_SHEET]
