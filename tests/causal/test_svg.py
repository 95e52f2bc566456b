import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from intaglio.causal.formats.svg import to_svg
from intaglio.causal.formats.svg_layout import layered_layout
from intaglio.causal.graphs.graph import Graph
from intaglio.errors import BadInput
from small_graphs import named, random_dag

SVG = "{http://www.w3.org/2000/svg}"
NAMES = tuple(f"variable {k} <&> of a rather long name" if k % 5 == 0 else f"v{k}" for k in range(30))


def large() -> Graph:
    dag = random_dag(np.random.default_rng(0), 30, 0.12)
    return Graph.from_adjacency("DAG", dag, NAMES).cpdag()


def test_the_picture_parses_and_holds_every_name_mark_and_probability():
    graph = large()
    probabilities = {(edge.second, edge.first): 0.25 + k / 100 for k, edge in enumerate(graph.edges)}
    root = ElementTree.fromstring(to_svg(graph, probabilities))
    titles = {node.text for node in root.iter(f"{SVG}title")}
    assert set(NAMES) <= titles
    for k, edge in enumerate(graph.edges):
        assert f"{edge}, p = {0.25 + k / 100:.3g}" in titles
    assert len([t for t in root.iter(f"{SVG}text") if t.get("class") == "p"]) == len(graph.edges)
    assert len(list(root.iter(f"{SVG}polygon"))) == int(graph.directed.sum())
    dashed = [g for g in root.iter(f"{SVG}g") if {"unsure", "faint"} & set((g.get("class") or "").split())]
    assert len(dashed) == sum(p < 0.5 for p in probabilities.values())


def test_the_picture_loads_nothing_and_is_always_the_same():
    graph = large()
    text = to_svg(graph)
    assert text == to_svg(Graph(graph.kind, graph.names, graph.marks))
    for banned in ("<script", "href", "url(", "<image", "nan", "http://", "https://"):
        assert banned not in text.replace("http://www.w3.org/2000/svg", "")


def test_rings_and_red_arrows_stand_for_the_marks_of_a_pag():
    pag = Graph.of("PAG", "ABCDE", [("A", "o->", "B"), ("B", "<->", "C"), ("D", "o-o", "A")])
    root = ElementTree.fromstring(to_svg(pag))
    assert len(list(root.iter(f"{SVG}circle"))) == 3
    assert len(list(root.iter(f"{SVG}polygon"))) == 3
    assert len([g for g in root.iter(f"{SVG}g") if g.get("class") == "both"]) == 1


def test_boxes_do_not_overlap_and_edges_pass_none():
    for seed in range(6):
        random = np.random.default_rng(seed)
        d = int(random.integers(1, 31))
        graph = Graph.from_adjacency("DAG", random_dag(random, d, 3 / max(3, d)))
        layout = layered_layout(graph, [40.0 + 5 * (k % 7) for k in range(d)], 28.0)
        boxes = [
            (x - w / 2, y - 14, x + w / 2, y + 14) for (x, y), w in zip(layout.centres, layout.widths, strict=True)
        ]
        for k, (left, top, right, low) in enumerate(boxes):
            assert left >= 0
            assert right <= layout.width
            assert low <= layout.height
            for other in boxes[:k]:
                assert right <= other[0] or other[2] <= left or low <= other[1] or other[3] <= top
        assert len(layout.routes) == len(graph.edges)
        for (a, b), route in layout.routes.items():
            assert graph.directed[a, b]
            ys = [y for _, y in route]
            assert ys == sorted(ys)
            assert boxes[a][0] <= route[0][0] <= boxes[a][2]
            assert boxes[b][0] <= route[-1][0] <= boxes[b][2]
            for x, y in route[1:-1]:
                assert not any(left < x < right and top < y < low for left, top, right, low in boxes)


@pytest.mark.parametrize("d", [0, 1, 2])
def test_the_smallest_graphs_can_be_drawn(d):
    assert ElementTree.fromstring(to_svg(Graph.of("DAG", named(d)))).get("viewBox")


def test_a_probability_without_an_edge_or_out_of_range_is_refused():
    graph = Graph.of("DAG", "ABC", [("A", "-->", "B")])
    with pytest.raises(BadInput, match="A and C have a probability but no edge"):
        to_svg(graph, {("A", "C"): 0.5})
    with pytest.raises(BadInput, match=r"the probability of A and B is 1.5; it lies in 0 to 1"):
        to_svg(graph, {("A", "B"): 1.5})


def test_edges_lead_to_the_addresses_that_they_are_given():
    graph = Graph.of("DAG", "abc", [("a", "-->", "b"), ("b", "-->", "c")])
    plain, led = to_svg(graph), to_svg(graph, links={("b", "a"): "#one", ("b", "c"): "#<two>"})
    assert ("<a " in plain, plain.count('role="img"')) == (False, 1)
    assert led.count("<a href=") == 2
    assert '<a href="#one" aria-label="a --&gt; b">' in led
    assert '<a href="#&lt;two&gt;"' in led
    assert 'role="group"' in led  # an image would hide its links from a screen reader


def test_the_less_probable_an_edge_the_fainter_its_line():
    names = ("a", "b", "c", "d", "e")
    graph = Graph.of("CPDAG", names, [(names[k], "---", names[k + 1]) for k in range(4)])
    drawn = to_svg(graph, {(names[k], names[k + 1]): p for k, p in enumerate((0.995, 0.9 - 1e-9, 0.3, 0.03))})
    for name, probability in (("sure", 0.995), ("likely", 0.9), ("unsure", 0.3), ("faint", 0.03)):
        assert f'<g class="one {name}">' in drawn, probability
    assert '<g class="one">' in to_svg(graph), "without probabilities all lines are alike"
