"""Graphs and knowledge as others write them, and as a discovery saves them: read back the same, or refused."""

import json
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from found_graphs import found_graph
from intaglio import SiCL
from intaglio.causal.formats.formula_cells import as_cell, from_cell
from intaglio.causal.formats.graph_files import read_graph
from intaglio.causal.formats.graph_texts import from_dagitty, from_dot
from intaglio.causal.graphs import graph as graph_module
from intaglio.causal.graphs.distances import compare
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.results.discovery import Discovery
from intaglio.errors import BadInput

FILES = ("graph.json", "graph.gml", "graph.dot", "graph.dagitty.txt", "edges.csv")
ODD = (
    "=1+2",
    "'=x",
    "-a",
    "+b",
    "@c",
    "a b",
    'say "so"',
    "back\\slash",
    "Größe (µm)\nlong",
    "3",
    "node",
    "a,b;c",
    "'q'",
)


def read(tmp_path, name: str, text: str, *names: str) -> Graph:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_graph(tmp_path / name, names)


# Every file of an answer is the same graph


@pytest.mark.parametrize("more", [False, True])
def test_knowledge_is_kept_in_every_file(tmp_path, more):
    random = np.random.default_rng(0)
    table = pd.DataFrame({"rain": random.standard_normal(400)})
    table["wet"] = table.rain + random.standard_normal(400)
    if more:
        table["sun"] = random.standard_normal(400)
        table["hot"] = table.sun + random.standard_normal(400)
    found = SiCL()(table, knowledge=Knowledge(required=(("rain", "wet"),)))
    plain = SiCL()(table)
    for one in (found, plain):
        one.save(tmp_path / one.graph.kind)
        for name in FILES:
            again = read_graph(tmp_path / one.graph.kind / name)
            assert again == one.graph
            assert compare(again, plain.graph).shd == (one is found)


KINDS_OF_GRAPHS = {
    "all directed": Graph.of("CPDAG", "abc", [("a", "-->", "c"), ("b", "-->", "c")]),
    "all directed by knowledge": Graph.of("MPDAG", "ab", [("a", "-->", "b")]),
    "knowledge that changed nothing": Graph.of("MPDAG", "abc", [("a", "---", "b"), ("b", "---", "c")]),
    "in part": Graph.of("MPDAG", "abcd", [("a", "-->", "b"), ("c", "---", "d")]),
    "no edge": Graph.of("CPDAG", "abc"),
    "alone": Graph.of("MPDAG", "abc", [("c", "-->", "b")]),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", KINDS_OF_GRAPHS)
def test_files_keep_the_kind(tmp_path, name, file):
    found = found_graph(graph=KINDS_OF_GRAPHS[name], subsamples=False)
    assert read(tmp_path, file, found.to_files()[file], *found.names) == found.graph


@pytest.mark.parametrize("file", FILES)
def test_files_keep_any_name(tmp_path, file):
    edges = [(a, "---", b) for a, b in pairwise(ODD)]
    found = found_graph(graph=Graph.of("CPDAG", ODD, edges), subsamples=False)
    found.save(tmp_path / "out")
    assert read_graph(tmp_path / "out" / file) == found.graph


def test_edges_of_older_files_are_a_class(tmp_path):
    """Before the kind was written, `edges.csv` was known by its probabilities."""
    head, rest = "source,target,mark,p_adjacent", (",-->,0.9\n", ",---,0.9\n")
    assert read(tmp_path, "e.csv", f"{head}\na,c{rest[0]}b,c{rest[0]}").kind == "CPDAG"
    assert read(tmp_path, "e.csv", f"{head}\na,b{rest[0]}c,d{rest[1]}").kind == "MPDAG"
    assert read(tmp_path, "e.csv", "source,target,mark\na,c,-->\nb,c,-->\n").kind == "DAG"
    with pytest.raises(BadInput, match="it says 'tree'"):
        read(tmp_path, "e.csv", f"{head},graph\na,b,-->,0.9,tree\n")
    with pytest.raises(BadInput, match="is a CPDAG and a MPDAG"):
        read(tmp_path, "e.csv", f"{head},graph\na,b,-->,0.9,MPDAG\nc,b,-->,0.9,CPDAG\n")


def test_names_that_are_formulas_do_nothing_in_a_spreadsheet():
    found = found_graph(graph=Graph.of("CPDAG", ["=HYPERLINK(1)", "b", "+c"], [("=HYPERLINK(1)", "---", "b")]))
    assert "'=HYPERLINK(1),b,---" in found.to_files()["edges.csv"]
    for text in ("=1", "\uff1d1", "\nx", "'=1", "''@x", "-1", "plain", "'plain", "", "\t=1"):
        assert from_cell(as_cell(text)) == text
        assert as_cell(text)[:1] not in tuple("=+-@\t")


def test_drawings_and_lists_of_names_with_control_characters():
    names = ["\x1b]0;owned\a", "new\nline", "ok\u202e"]
    found = found_graph(graph=Graph.of("CPDAG", names, [(names[0], "---", names[1])]))
    ElementTree.fromstring(found.to_svg())
    assert "\x1b" not in found.to_svg()
    lines = found.summary().splitlines()
    assert any(r"\x1b]0;owned\x07 --- new\nline" in line for line in lines)


# DOT as graphviz and others write it


@pytest.mark.parametrize(
    "text",
    [
        "digraph { a:n -> b }",
        "digraph { a:port:sw -> b:ne }",
        'digraph { "a":"p" -> b }',
        "digraph { a [label=<<b>A</b> > 1>]; a -> b }".replace(" > 1", ""),
        "digraph { a [label=<>]; a -> b [label=<x<br/>y>, color=red] [style=dotted] }",
        'digraph { "a" -> "b" [label="x" + "y"] }',
        'strict digraph "G" { graph [bb="0,0,54,108"]; node [label="\\N"]; a [pos="27,90"]; a -> b [pos="e,27,36"]; }',
        "digraph G { rankdir=LR; subgraph cluster_0 { a } subgraph cluster_1 { b } a -> b; }",
        "digraph {\n# line 1\n// more\n/* and\nmore */ a -> b\n}",
        "DIGRAPH { a -> b; }",
    ],
)
def test_dot_of_other_hands(text):
    assert from_dot(text) == Graph.of("DAG", "ab", [("a", "-->", "b")])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("digraph { <<b>A</b>> -> b }", "the name <<b>A</b>> in HTML"),
        ("digraph { a [label=<<b>A</b]; }", "the < in line 1 is never closed"),
        ('digraph {\n a -> "b }', "the quote in line 2 is never closed"),
        ("digraph { a-b -> c }", "has '-'; put names that hold it in quotes"),
        ("digraph { " + "{" * 200 + "a" + "}" * 200 + "}", "nest deeper than 32"),
        ("digraph { " + "{" * 200_000, "nest deeper than 32"),
        (
            "digraph { {"
            + " ".join(f"a{k}" for k in range(2000))
            + "} -> {"
            + " ".join(f"b{k}" for k in range(2000))
            + "}}",
            "more than 1,000,000 edges",
        ),
        ("digraph { a -> }", "a name was expected"),
        ("digraph { a: -> b }", "a port was expected"),
        ("", "more was expected"),
    ],
)
def test_dot_that_is_refused(text, words):
    with pytest.raises(BadInput) as caught:
        from_dot(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pdag_of_dagitty_says_when_it_is_an_mpdag():
    assert from_dagitty("pdag { kind=MPDAG a -> b }").kind == "MPDAG"
    assert from_dagitty("pdag { a -- b }").kind == "CPDAG"
    assert from_dagitty("dag { kind=MPDAG a -> b }").kind == "DAG"


# Hostile files


DEEP = 100_000
HOSTILE = [
    ("t.json", "[" * DEEP, "nests too deep"),
    ("t.json", '{"names": ["a"], "adjacency": ' + "[" * 80 + "]" * 80 + "}", "deeper than"),
    ("t.json", '{"names": ["a"], "adjacency": [[NaN]]}', "NaN"),
    ("t.json", '{"names": ["a"], "adjacency": [[1e999]]}', "beyond every"),
    ("t.json", '{"names": ["a"], "adjacency": [[' + "9" * 400 + "]]}", "400 digits"),
    ("t.json", '{"names": "ab", "adjacency": [[0, 1], [0]]}', "no JSON of the form"),
    ("t.json", '{"names": 5, "adjacency": [[0]]}', "no JSON of the form"),
    ("t.json", '{"graph": 5}', "no JSON of the form"),
    ("t.json", '{"graph": {"kind": ["DAG"], "names": ["a"], "edges": []}}', "where a text is due"),
    ("t.json", '{"graph": {"kind": "TREE", "names": ["a"], "edges": []}}', "no kind of graph"),
    ("t.json", '{"graph": {"kind": "DAG", "names": ["a", "b"], "edges": [["a", "-->"]]}}', "no JSON of the form"),
    ("t.json", '{"graph": {"kind": "DAG", "names": ["a", "b"], "edges": [["a", {}, "b"]]}}', "no JSON of the form"),
    ("t.json", "5", "no JSON of the form"),
    ("t.json", "null", "no JSON of the form"),
    ("t.gml", "graph [" * DEEP, "nests deeper"),
    ("t.gml", "graph [ node [ id 0 label " + "9" * 5000 + " ] ]", "GML"),
    ("t.gml", "graph [ node 5 ]", "GML"),
    ("t.gml", 'graph [ directed 1 node [ id 0 label "a" ] edge [ source 0 target 7 ] ]', "GML"),
    ("t.dot", "digraph {" * DEEP, "cannot be read"),
    ("t.txt", "dag {" + "{" * DEEP, "nest deeper"),
    ("t.csv", "source,target\na," + "b" * 300_000 + "\n", "cannot be read as CSV"),
    ("t.csv", "source,target\n" + "".join(f"a{k},b{k}\n" for k in range(6000)), "12,000 variables are too many"),
    ("t.csv", "a\0b,c\n0,1\n", "holds no graph"),
]


@pytest.mark.parametrize(("name", "text", "words"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_graph_files_are_one_sentence(tmp_path, name, text, words):
    with pytest.raises(BadInput) as caught:
        read(tmp_path, name, text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_graph_files_that_are_no_files(tmp_path):
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "latin.csv").write_bytes(b"caf\xe9,b\n0,1\n")
    for path, words in (("zero.json", "device"), ("latin.csv", "not UTF-8"), ("none.dot", "cannot be read")):
        with pytest.raises(BadInput, match=words):
            read_graph(tmp_path / path)
    with pytest.raises(BadInput, match="NUL"):
        read_graph(tmp_path / "a\0.json")


def test_variables_are_limited_before_memory_is_taken(monkeypatch):
    monkeypatch.setattr(graph_module, "MOST_VARIABLES", 3)
    with pytest.raises(BadInput, match="4 variables are too many for a graph, which has 3 at most"):
        Graph.of("DAG", "abcd")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("warnings", [5]),
        ("warnings", "text"),
        ("ood_reasons", {"a": 1}),
        ("isolated", [["a"]]),
        ("duplicates", [5]),
        ("duplicates", [[5]]),
        ("method", 5),
        ("conflicts", "many"),
        ("rows", None),
        ("adjacent", [[0]]),
        ("adjacent", "x"),
        ("marks", 5),
        ("triples", [[10**30, 0, 1]]),
        ("triples", [[0, 0, 99]]),
        ("colliders", {}),
        ("graph", []),
        ("graph", {"kind": "CPDAG", "names": [1, 2], "edges": []}),
        ("graph", {"kind": "CPDAG", "names": {"a": 1}, "edges": []}),
    ],
)
def test_a_graph_json_edited_by_hand_is_one_sentence(tmp_path, field, value):
    plain = {**found_graph(6, 3).to_dict(), field: value}
    (tmp_path / "graph.json").write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(BadInput, match=r"graph\.json"):
        Discovery.load(tmp_path)


def test_a_graph_json_nested_deep_is_one_sentence(tmp_path):
    (tmp_path / "graph.json").write_text("[" * DEEP)
    with pytest.raises(BadInput, match="nests too deep"):
        Discovery.load(tmp_path)
