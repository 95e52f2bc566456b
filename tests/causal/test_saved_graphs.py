"""Files of a saved discovery: each is read back as the graph that was saved, its kind included."""

import csv
import io

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from found_graphs import found_graph, found_pag
from intaglio.causal.formats.graph_files import read_graph
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.results.discovery import Discovery
from intaglio.errors import BadInput
from mixed_graphs import random_mixed
from small_graphs import random_dag

FILES = ("graph.json", "graph.gml", "graph.dot", "graph.dagitty.txt", "edges.csv")
KINDS = ("DAG", "CPDAG", "MPDAG", "PAG")
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


def random_graph(kind: str, names: list[str], seed: int, density: float) -> Graph:
    random = np.random.default_rng(seed)
    if kind == "PAG":
        return ADMG(tuple(names), *random_mixed(random, len(names), density)).mag().pag()
    dag = Graph.from_adjacency("DAG", random_dag(random, len(names), density), names)
    if kind == "DAG":
        return dag
    known = [(edge.first, edge.second) for edge in dag.edges if random.random() < 0.4]
    return dag.cpdag() if kind == "CPDAG" else dag.cpdag().with_knowledge(known)


def found(graph: Graph) -> Discovery:
    return found_pag(graph=graph) if graph.kind == "PAG" else found_graph(graph=graph)


def read_back(folder, graph: Graph) -> dict[str, Graph]:
    """The graph in each of the files that a discovery of this graph is saved in."""
    texts = found(graph).to_files()
    read = {}
    for name in FILES:
        (folder / name).write_bytes(texts[name].encode())
        read[name] = read_graph(folder / name)
    return read


@settings(max_examples=25, phases=[Phase.generate])
@given(
    st.sampled_from(KINDS),
    st.lists(NAMES, min_size=1, max_size=6, unique=True),
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_every_file_is_the_graph_that_was_saved(tmp_path_factory, kind, names, seed, density):
    graph = random_graph(kind, names, seed, density)
    for name, read in read_back(tmp_path_factory.getbasetemp(), graph).items():
        assert read == graph, name


EDGES = {
    "an MPDAG whose edges are all directed": ("MPDAG", ["rain", "wet"], [("rain", "-->", "wet")]),
    "a CPDAG whose edges are all directed": ("CPDAG", "abc", [("a", "-->", "c"), ("b", "-->", "c")]),
    "a CPDAG of lines": ("CPDAG", "abc", [("a", "---", "b")]),
    "every sign of a PAG": (
        "PAG",
        "abcdefghijkl",
        [
            ("a", "-->", "b"),
            ("c", "<->", "d"),
            ("e", "o->", "f"),
            ("g", "o-o", "h"),
            ("i", "---", "j"),
            ("k", "o--", "l"),
        ],
    ),
    "spaces and breaks": (
        "PAG",
        [" a", "a ", "a", "\r", "\n", "\t", "a\r\nb"],
        [("a", "o->", "a "), ("\r", "o-o", "\n")],
    ),
    "formulas": ("CPDAG", ["=x", "'=x", "''=x", "-1", "x"], [("=x", "---", "'=x")]),
    "signs of the formats": (
        "MPDAG",
        ['"', "\\", "[" * 150, "a -> b", "&#91;", "#", "//", "%", "node", "graph", "kind", "source,target", "{}"],
        [('"', "-->", "\\"), ("[" * 150, "---", "&#91;")],
    ),
}


@pytest.mark.parametrize(("kind", "names", "edges"), EDGES.values(), ids=EDGES)
def test_what_a_format_cannot_say_by_itself_is_said_in_the_file(tmp_path, kind, names, edges):
    graph = Graph.of(kind, names, edges)
    assert read_back(tmp_path, graph) == dict.fromkeys(FILES, graph)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", ["", "a", "ab"])
def test_a_graph_without_edges_keeps_its_kind_and_its_variables(tmp_path, kind, names):
    graph = Graph.of(kind, names)
    assert read_back(tmp_path, graph) == dict.fromkeys(FILES, graph)


def test_a_variable_without_edges_is_a_row_with_a_source_alone():
    texts = found(Graph.of("CPDAG", "abc", [("a", "---", "c")])).to_files()
    rows = list(csv.DictReader(io.StringIO(texts["edges.csv"])))
    assert [(row["source"], row["mark"], row["target"], row["graph"]) for row in rows] == [
        ("a", "---", "c", "CPDAG"),
        ("b", "", "", "CPDAG"),
    ]
    assert {value for key, value in rows[1].items() if key not in ("source", "graph")} == {""}


def test_an_apostrophe_is_taken_off_though_the_whole_cell_is_a_name_too(tmp_path):
    graph = Graph.of("CPDAG", ["=x", "'=x", "b"], [("=x", "---", "b")])
    (tmp_path / "edges.csv").write_text(found(graph).to_files()["edges.csv"])
    assert read_graph(tmp_path / "edges.csv", graph.names) == graph


def test_lists_of_edges_by_hand_have_spaces_around_names_and_variables_alone(tmp_path):
    (tmp_path / "e.csv").write_text("source, target, mark, graph\n a , b, -->, MPDAG\nc,,,MPDAG\n")
    assert read_graph(tmp_path / "e.csv") == Graph.of("MPDAG", "abc", [("a", "-->", "b")])
    (tmp_path / "e.csv").write_text("from,to\na,b\nc,\n")
    assert read_graph(tmp_path / "e.csv") == Graph.of("DAG", "abc", [("a", "-->", "b")])
    (tmp_path / "e.csv").write_text("source,target,mark\na,,-->\n")
    with pytest.raises(BadInput, match="empty name"):
        read_graph(tmp_path / "e.csv")


def test_the_list_of_edges_of_a_version_without_such_rows_is_read(tmp_path):
    head = "source,target,mark,p_adjacent,p_forward,p_backward,p_undirected,frequency,confidence,spread,graph"
    (tmp_path / "edges.csv").write_text(f"{head}\n'=x,b,-->,0.9,0.8,0.1,0.1,,0.8,,MPDAG\n")
    read = read_graph(tmp_path / "edges.csv", ("=x", "b", "c"))
    assert read == Graph.of("MPDAG", ["=x", "b", "c"], [("=x", "-->", "b")])
