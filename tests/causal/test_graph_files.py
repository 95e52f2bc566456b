"""Reading of graph files in every format."""

import json

import pytest

from found_graphs import found_graph
from intaglio.causal.formats.graph_files import read_graph
from intaglio.causal.graphs.graph import Graph
from intaglio.errors import BadInput

DAG = Graph.of("DAG", ("rain", "wet", "slip"), [("rain", "-->", "wet"), ("wet", "-->", "slip")])


def read(tmp_path, name: str, text: str, *names: str) -> Graph:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_graph(tmp_path / name, names)


@pytest.mark.parametrize("name", ["graph.json", "graph.gml", "graph.dot", "graph.dagitty.txt"])
def test_what_discover_writes_is_read(tmp_path, name):
    found = found_graph(9, 4)
    assert read(tmp_path, name, found.to_files()[name]) == found.graph


def test_the_edges_of_a_discovery_are_read_with_the_other_variables_named(tmp_path):
    found = found_graph(9, 4)
    assert read(tmp_path, "edges.csv", found.to_files()["edges.csv"], *found.names) == found.graph


@pytest.mark.parametrize(
    "text",
    [
        "rain,wet,slip\n0,1,0\n0,0,1\n0,0,0\n",
        ",rain,wet,slip\nrain,0,1,0\nwet,0,0,1\nslip,0,0,0\n",
        "rain, wet, slip\n0,0.7,0\n0,0,-2\n0,0,0\n\n",
        "\ufeffrain,wet,slip\n0,1,0\n0,0,1\n0,0,0\n",
        "source,target\nrain,wet\nwet,slip\n",
        "From,To,weight\nrain,wet,1\nwet,slip,2\n",
        "cause,effect,mark\nrain,wet,-->\nslip,wet,<--\n",
    ],
)
def test_matrices_and_lists_of_edges(tmp_path, text):
    assert read(tmp_path, "truth.csv", text) == DAG


def test_both_ways_in_a_matrix_are_an_undirected_edge(tmp_path):
    chain = Graph.of("CPDAG", "abc", [("a", "---", "b"), ("b", "---", "c")])
    assert read(tmp_path, "truth.csv", "a,b,c\n0,1,0\n1,0,1\n0,1,0\n") == chain
    assert read(tmp_path, "truth.csv", "source,target,mark\na,b,---\nb,c,--\n") == chain
    matrix = {"names": ["a", "b", "c"], "adjacency": [[0, 1, 0], [1, 0, 1], [0, 1, 0]]}
    assert read(tmp_path, "truth.json", json.dumps(matrix)) == chain


def test_one_variable_and_no_edges(tmp_path):
    assert read(tmp_path, "truth.csv", "a\n0\n") == Graph.of("DAG", "a")
    assert read(tmp_path, "truth.csv", "source,target\n", "a", "b") == Graph.of("DAG", "ab")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("truth.xlsx", "", r"truth\.xlsx is no graph file by its name; give one that ends in \.gml"),
        ("truth.csv", "", "it is empty"),
        ("truth.csv", "a,b\n0,1\n", "under 2 names has as many rows"),
        ("truth.csv", ",a,b\na,0,1\nc,0,0\n", "names of its rows"),
        ("truth.csv", "a,b\n0,x\n0,0\n", "the entry 'x' is no number"),
        ("truth.csv", "a,b\n0,1\n0\n", "as many rows and columns"),
        ("truth.csv", "a,b\n0,\n0,0\n", "entry ''"),
        ("truth.csv", "source,target\na\n", "fewer cells"),
        ("truth.csv", "a,b\n0,1\n0,1\n", "truth.csv holds no graph"),
        ("truth.json", "{", "no readable JSON"),
        ("truth.json", '{"names": ["a"]}', "'adjacency'"),
        ("truth.gml", "graph [", "GML"),
    ],
)
def test_what_is_no_graph_is_said_with_the_file_s_name(tmp_path, name, text, words):
    with pytest.raises(BadInput, match=words):
        read(tmp_path, name, text)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_graph(tmp_path / "nothing.gml")
