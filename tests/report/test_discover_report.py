"""The report page of a found graph: edges, probabilities, columns and assumptions."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from found_graphs import found_graph, found_pag
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.results.changes import Changes, PairTest
from intaglio.cli import main
from intaglio.errors import BadInput
from intaglio.report import content_hash, write_report
from intaglio.report.pages.causal_figures import MAX_VARIABLES, mark_bars, pair_plot, range_bar
from run_folders import run_json

COLUMNS = [
    {"name": "age", "kind": "continuous", "excluded": None, "levels": [], "missing": 0.03},
    {"name": "smoking", "kind": "binary", "excluded": None, "levels": ["no", "yes"], "missing": 0.0},
    {"name": "site <A>", "kind": None, "excluded": "constant"},
]


@pytest.fixture
def folder(tmp_path):
    run_json(
        tmp_path,
        "discover",
        "sicl",
        settings={"threshold": 0.5, "subsamples": 20, "knowledge": {}},
        warnings=["bmi is nearly a function of <weight>"],
    )
    return tmp_path


def report_of(folder, found, *, columns=COLUMNS, scores=None) -> str:
    found.save(folder / "result")
    (folder / "columns.json").write_text(json.dumps({"columns": columns, "rows_seen": 9000, "rows": found.rows}))
    if scores:
        (folder / "scores.json").write_text(json.dumps(scores))
    return write_report(folder).read_text(encoding="utf-8")


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))


def test_the_page_has_the_graph_every_edge_and_the_warnings_first(folder):
    found = found_graph(8, 4, ood_score=0.3, ood_reasons=("kurtosis of income 41, above 12",), conflicts=2)
    page = report_of(folder, found)
    words = text_of(page)
    directed = sum(edge.mark == "-->" for edge in found.edges)
    assert f"{len(found.edges)} edges among 8 columns, {directed} with a direction" in words
    for edge in found.edges:
        assert f"{edge.source} {'→' if edge.mark == '-->' else '—'} {edge.target}" in words
        assert f"adjacent: {edge.p_adjacent:.3f}" in page
    assert page.index("bmi is nearly a function of &lt;weight&gt;") < page.index(
        '<svg xmlns="http://www.w3.org/2000/svg"'
    )
    assert page.index("bmi is nearly") < page.index('class="keys"')
    assert "2,000 rows drawn from 9,000" in words
    assert "kurtosis of income 41, above 12" in words
    assert "Worse than the empty graph 30%" in words
    assert "Probability that the graph is worse than the empty graph 30%" in words
    assert "2 probable colliders contradicted" in words
    assert "either could be the cause, the data cannot tell" in words
    for assumption in ("No hidden common causes", "No cycles", "Faithfulness", "Independent rows"):
        assert assumption in words
    assert "of pairs that are given 0.8 there, about 8 in 10" in words
    assert "http" not in re.sub(r'xmlns="[^"]+"', "", page), "nothing is loaded from anywhere"


def test_columns_are_shown_as_they_were_read(folder):
    page = report_of(folder, found_graph(8, 4))
    words = text_of(page)
    assert "age numbers 3%" in words
    assert "smoking two levels 2: no, yes" in words
    assert "site &lt;A&gt; left out: constant" in words
    assert "site <A>" not in page
    assert "1 column took no part and has no edges." in words


def test_with_subsamples_there_are_ranges_and_shares_and_without_there_are_none(folder):
    found = found_graph(8, 4)
    words = text_of(report_of(folder, found))
    edge = found.edges[0]
    low, high = (min(1, max(0, edge.p_adjacent + sign * 1.96 * edge.spread)) for sign in (-1, 1))
    assert f"{low:.2f} to {high:.2f}" in words
    assert "In subsamples" in words
    words = text_of(report_of(folder, replace(found, spread=None, frequencies=None)))
    assert "In subsamples" not in words
    assert f"{low:.2f} to {high:.2f}" not in words
    assert "no; --subsamples 30 does" in words


def test_scores_and_knowledge_are_shown_where_there_were_any(folder):
    found = found_graph(8, 4)
    assert "Against the true graph" not in text_of(report_of(folder, found))
    run_json(
        folder,
        "discover",
        "sicl",
        settings={"knowledge": {"forbidden": [["cough", "age"]], "tiers": [["age", "tar", "cough"]]}},
    )
    words = text_of(
        report_of(folder, found, scores={"shd": 3, "skeleton_f1": 0.91, "orientation_f1": 0.8, "collider_f1": 1.0})
    )
    assert "pairs whose edge differs (SHD) 3" in words
    assert "F1 of adjacencies 0.91" in words
    assert "forbidden: cough → age; tiers: age tar cough" in words


def test_files_are_linked_from_where_the_page_lies(folder, tmp_path):
    found = found_graph(8, 4)
    assert 'href="result/graph.json"' in report_of(folder, found)
    beside = write_report(folder, folder / "pages" / "report.html").read_text(encoding="utf-8")
    assert 'href="../result/graph.svg"' in beside


def test_the_page_is_the_same_wherever_and_whenever_it_was_made(folder, tmp_path_factory):
    found = found_graph(8, 4)
    report_of(folder, found)
    other = tmp_path_factory.mktemp("elsewhere")
    record = json.loads((folder / "run.json").read_text())
    (other / "run.json").write_text(json.dumps({**record, "seconds": 7.0, "started": "2030-01-01T00:00:00+00:00"}))
    report_of(other, replace(found, seconds=99.0))
    assert content_hash(folder / "report.html") == content_hash(other / "report.html")


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([], "No edges among 3 columns"),
        ([("a", "---", "b")], "1 edge among 3 columns; it could point either way"),
        ([("a", "---", "b"), ("b", "---", "c")], "2 edges among 3 columns; each could point either way"),
        ([("a", "-->", "c"), ("b", "-->", "c")], "2 edges among 3 columns, with all their directions"),
    ],
)
def test_the_headline(folder, edges, words):
    found = found_graph(graph=Graph.of("CPDAG", "abc", edges), ood_score=float("nan"))
    page = text_of(report_of(folder, found, columns=[]))
    assert words in page
    assert "Worse than the empty graph" not in page, "the method says nothing of it"
    assert "Probability that the graph is worse than the empty graph the method does not say" in page


def test_only_so_much_is_listed_and_the_rest_is_said_to_be_in_the_files(folder):
    names = tuple(f"v{k}" for k in range(61))
    star = Graph.of("CPDAG", names, [(names[0], "---", name) for name in names[1:]])
    found = found_graph(graph=star)
    assert len(found.names) > MAX_VARIABLES
    page = report_of(folder, found)
    assert pair_plot(found) is None
    assert "Probability of an edge for every pair" not in page
    words = text_of(page)
    assert f"60 of {60 * 59 // 2} are listed; colliders.csv has all" in words
    assert "graph.json has all" in words


def test_an_unfinished_search_is_a_plain_page(folder):
    assert "discover sicl" in text_of(write_report(folder).read_text(encoding="utf-8"))


def test_a_damaged_graph_is_named(folder):
    (folder / "result").mkdir()
    (folder / "result" / "graph.json").write_text('{"format": 1}')
    with pytest.raises(BadInput, match="graph.json lacks 'graph'"):
        write_report(folder)


def test_the_square_of_a_pair_is_as_strong_as_its_probability():
    found = found_graph(6, 3)
    figure = str(pair_plot(found))
    assert figure.count("<rect") == 15
    assert figure.count('class="pair edge"') == len(found.edges)
    for i in range(6):
        for j in range(i):
            p = found.adjacent[i, j]
            assert f'fill-opacity="{p:.3g}"><title>{found.names[j]}, {found.names[i]}: {p:.3f}' in figure
    assert pair_plot(found_graph(1)) is None


def test_bars_are_as_long_as_their_shares():
    edge = found_graph(8, 4).edges[0]
    widths = [float(w) for w in re.findall(r'<rect x="[^"]+" y="3" width="([^"]+)"', str(mark_bars(edge)))]
    total = edge.p_forward + edge.p_undirected + edge.p_backward
    shares = np.array([edge.p_forward, edge.p_undirected, edge.p_backward]) / total
    assert np.allclose(widths, 112 * shares, atol=0.06)
    bar = str(range_bar(0.5, 0.25, 1.0, "adjacent"))
    assert 'cx="56"' in bar, "the middle of 112"
    assert 'x="30.5" y="5" width="76.5"' in bar


def test_marks_that_are_less_probable_than_not_are_counted_and_numbers_are_explained(folder):
    found = found_graph(8, 4)
    doubted = sum(edge.p_mark < 0.5 for edge in found.edges)
    sure = replace(found, marks=np.where(np.arange(3) == 2, 0.0, 0.5) * np.ones((8, 8, 1)))
    assert ("this mark is less probable than not" in text_of(report_of(folder, found))) == bool(doubted)
    lines = sum(edge.mark == "---" for edge in sure.edges)
    assert f"Of {lines} of {len(sure.edges)} edges this mark" in sure.summary()
    assert "given one, of --> or ---" in sure.summary()


def test_a_probability_in_the_picture_is_never_rounded_to_1(folder):
    found = found_graph(6, 4)
    found = replace(found, adjacent=np.where(found.graph.skeleton, 0.9991, found.adjacent))
    picture = report_of(folder, found).split('class="causal"')[1].split("</svg>")[0]
    assert picture.count("&gt;0.99") == len(found.edges) > 0
    assert ">1.00<" not in picture


def test_a_pag_explains_its_marks_beside_the_drawing(folder):
    graph = Graph.of("PAG", "abcd", [("a", "o->", "b"), ("d", "o->", "b"), ("b", "-->", "c")])
    page = report_of(folder, found_pag(graph=graph), scores={"shd": 2, "shd_marks": 3, "pag_f1": 0.5})
    words = text_of(page)
    assert "3 edges among 4 columns: 1 cause, 0 by a hidden cause, 2 open" in words
    assert "a ↔ b: neither is a cause of the other; a hidden cause of both joins them" in words
    assert "a ○→ b: b is no cause of a; a is a cause of b, or a hidden cause joins them, or both" in words
    assert "a ○–○ b: adjacent; one is a cause of the other, or a hidden cause joins them, or both" in words
    assert page.split('class="legend marks"')[1].split("</ul>")[0].count('class="ring"') == 3
    assert page.split('class="causal"')[1].split("</svg>")[0].count('class="ring"') == 2
    assert "triple both arrowheads in the middle drawn so" in words
    assert "b → c visible" in words
    assert "a ○→ b" in words
    assert "at a: arrowhead" in page
    assert "Shares of restarts." in words
    assert "F1 of edges with both marks" in words
    assert "No selection" in words
    assert "a curve that turns, such as a square, can be missed" in words
    for only_of_dags in (
        "both cause the middle",
        "No hidden common causes",
        "--subsamples",
        "either could be the cause",
        "training tables",
    ):
        assert only_of_dags not in words


def test_a_graph_from_changes_is_told_with_its_tests_and_without_probabilities(tmp_path):
    random = np.random.default_rng(0)
    site = np.repeat([f"site {k}" for k in range(10)], 20)
    a = np.repeat(3.0 * random.standard_normal(10), 20) + random.standard_normal(200)
    pd.DataFrame({"a": a, "b": a + random.standard_normal(200), "site": site}).to_csv(tmp_path / "t.csv", index=False)
    words = ["discover", "cd-nod", str(tmp_path / "t.csv"), "--context", "site", "--test", "partial-correlation"]
    assert main([*words, "--runs", str(tmp_path / "runs")]) == 0
    (report,) = (tmp_path / "runs").glob("*/report.html")
    page = report.read_text(encoding="utf-8")
    assert "The mechanism of a changes with &#39;site&#39; (domains)." in page
    assert "one end changes with the context and the other does not" in page
    assert "<td>site 7</td>" in page
    assert "given a" in page
    words = text_of(page)
    for of_probabilities in ("Confidence", "training tables", "Least sure edge", "probability below", "drawn so"):
        assert of_probabilities not in words
    assert "The number beside an edge" not in words
    assert "Contradictions none" in words
    assert "The class of causal graphs that agree with these changes, as far as 200 rows tell." in words
    assert "so no collider fixes a direction" in words


def test_what_a_search_by_changes_left_out_is_told_among_what_to_trust(folder):
    graph, pairs = Graph.of("CPDAG", "ab"), (PairTest("a", "b", False, 0.4, ()),)
    changes = Changes("site", "domain", "partial-correlation", 0.05, changing=(), tests=1, pairs=pairs)
    found = replace(found_graph(graph=graph, subsamples=False), changes=changes, conflicts=2)
    words = text_of(report_of(folder, found))
    assert "The class of causal graphs, as far as 2,000 rows drawn from 9,000 tell." in words
    assert "Contradictions 2 colliders contradicted surer ones or what is known and left out." in words
