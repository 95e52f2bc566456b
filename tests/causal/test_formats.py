from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from intaglio.causal.formats.graph_texts import from_dagitty, from_dot, from_gml, to_dagitty, to_dot, to_gml
from intaglio.causal.formats.matrices import (
    from_causallearn_matrix,
    from_pcalg_matrix,
    to_causallearn_matrix,
    to_pcalg_matrix,
)
from intaglio.causal.formats.packages import (
    from_causallearn,
    from_networkx,
    from_pgmpy,
    to_causallearn,
    to_networkx,
    to_pgmpy,
)
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark, parse_sign, sign_of
from intaglio.errors import BadInput
from small_graphs import named, random_dag

ODD = ("plain", "two words", 'a "quote"', "über—α", "digraph", "3x", "back\\slash", "a.b", "semi;colon", "x->y")


def some_graphs() -> list[Graph]:
    random = np.random.default_rng(0)
    found = []
    for d in (1, 2, 5, 12):
        dag = Graph.from_adjacency("DAG", random_dag(random, d, 0.4), named(d))
        found += [dag, dag.cpdag()]
    v = Graph.of("CPDAG", "ABC", [("A", "---", "B"), ("B", "---", "C")])
    found.append(v.with_knowledge([("A", "B")]))
    found.append(Graph.of("MAG", "ABCDE", [("A", "-->", "B"), ("B", "<->", "C"), ("D", "---", "E")]))
    signs = ["-->", "<->", "---", "o->", "o-o", "o--"]
    edges = [(f"a{k}", sign, f"b{k}") for k, sign in enumerate(signs)]
    found.append(Graph.of("PAG", [name for a, _, b in edges for name in (b, a)], edges))
    found.append(Graph.of("PAG", ODD, [(ODD[0], "o->", ODD[1]), (ODD[2], "o-o", ODD[3]), (ODD[4], "<->", ODD[5])]))
    return found


ALL = some_graphs()
SINGLE = [graph for graph in ALL if graph.kind in ("DAG", "CPDAG", "MPDAG")]


@pytest.mark.parametrize("graph", ALL, ids=lambda g: f"{g.kind}{len(g)}")
def test_every_graph_comes_back_from_every_format(graph):
    assert from_networkx(to_networkx(graph)) == graph
    assert from_gml(to_gml(graph)) == graph
    assert from_dot(to_dot(graph)) == graph
    assert from_dagitty(to_dagitty(graph), graph.kind) == graph
    assert from_causallearn_matrix(to_causallearn_matrix(graph), graph.kind, graph.names) == graph
    assert from_pcalg_matrix(to_pcalg_matrix(graph), graph.kind, graph.names) == graph
    for back in (from_networkx(to_networkx(graph)), from_dot(to_dot(graph)), from_gml(to_gml(graph))):
        assert back.names == graph.names


@pytest.mark.parametrize("first", [Mark.TAIL, Mark.ARROW, Mark.CIRCLE])
@pytest.mark.parametrize("second", [Mark.TAIL, Mark.ARROW, Mark.CIRCLE])
def test_signs_are_read_as_they_are_spelt(first, second):
    assert parse_sign(sign_of(first, second)) == (first, second)


def test_the_matrices_follow_the_packages_conventions():
    pag = Graph.of("PAG", "AB", [("A", "o->", "B")])
    assert to_causallearn_matrix(pag).tolist() == [[0, 2], [1, 0]]
    assert to_pcalg_matrix(pag).tolist() == [[0, 2], [1, 0]]  # the mark at the column: an arrow at B
    dag = Graph.of("DAG", "AB", [("A", "-->", "B")])
    assert to_causallearn_matrix(dag).tolist() == [[0, -1], [1, 0]]
    assert to_pcalg_matrix(dag).tolist() == [[0, 0], [1, 0]]
    assert dag.adjacency.tolist() == [[False, True], [False, False]]
    assert from_causallearn_matrix([[0, -1], [-1, 0]], "CPDAG").names == ("X1", "X2")
    assert from_pcalg_matrix([[0, 1], [1, 0]], "CPDAG") == Graph.of("CPDAG", ["V1", "V2"], [("V1", "---", "V2")])


def test_a_plain_digraph_is_read_as_it_is_meant():
    plain = nx.DiGraph([("A", "B"), ("C", "B")])
    assert from_networkx(plain) == Graph.of("DAG", "ABC", [("A", "-->", "B"), ("C", "-->", "B")])
    plain.add_edge("C", "D")
    plain.add_edge("B", "D")
    plain.add_edge("A", "D")
    numbers = from_networkx(nx.DiGraph([(1, 2), (2, 1)]), "CPDAG")
    assert numbers == Graph.of("CPDAG", "12", [("1", "---", "2")])
    with pytest.raises(BadInput, match="a networkx DiGraph is asked for, not a Graph"):
        from_networkx(nx.Graph([("A", "B")]))
    marked = nx.DiGraph()
    marked.add_edge(1, 2, at_source="tail", at_target="arrow")
    marked.add_edge(2, 1, at_source="tail", at_target="arrow")
    with pytest.raises(BadInput, match="the two arcs of 2 and 1 have different marks"):
        from_networkx(marked, "MAG")
    marked.remove_edge(2, 1)
    marked.edges[1, 2]["at_target"] = "star"
    with pytest.raises(BadInput, match="has the mark 'star'; it is one of tail, arrow, circle"):
        from_networkx(marked)


def test_dot_of_other_hands_is_read():
    text = """// a comment
    strict digraph "my graph" { rankdir=LR; node [shape=box, label="x"]; edge [color=red];
      a -> b -> {c d} [weight=2.5]; subgraph cluster_0 { e; f }  # isolated
      g -> a [dir=back]; /* b to
      h */ b -> h [dir=both, arrowtail=normal]
    }"""
    found = from_dot(text, "MAG")
    expected = [("a", "-->", "b"), ("b", "-->", "c"), ("b", "-->", "d"), ("a", "-->", "g"), ("b", "<->", "h")]
    assert found == Graph.of("MAG", "abcdefgh", expected)
    assert from_dot("graph { a -- b }") == Graph.of("CPDAG", "ab", [("a", "---", "b")])
    assert from_dot("digraph { edge [dir=none] a -> b }", "CPDAG") == Graph.of("CPDAG", "ab", [("a", "---", "b")])


def test_dagitty_of_other_hands_is_read():
    text = """dag {
    bb="-3,-0.5,2,1.2"
    D [outcome,pos="1.000,1.000"]
    E [exposure,pos="-2.000,1.000"]
    "my Z" [latent,pos="-0.500,0.500"]
    E -> D [beta=0.3]; {E "my Z"} -> W <- V
    }"""
    edges = [("E", "-->", "D"), ("E", "-->", "W"), ("my Z", "-->", "W"), ("V", "-->", "W")]
    assert from_dagitty(text) == Graph.of("DAG", ["D", "E", "my Z", "W", "V"], edges)
    pag = "pag{ {V2 V1} @-> X -> {V4 @-> Y} <- V3 @-> X X[e] Y[o]}"
    edges = [("V2", "o->", "X"), ("V1", "o->", "X"), ("X", "-->", "V4"), ("X", "-->", "Y"), ("V4", "o->", "Y")]
    edges += [("V3", "-->", "V4"), ("V3", "-->", "Y"), ("V3", "o->", "X")]
    assert from_dagitty(pag) == Graph.of("PAG", ["V1", "V2", "V3", "V4", "X", "Y"], edges)
    mag = from_dagitty("mag{ x <-> y -> z }")
    assert mag == Graph.of("MAG", "xyz", [("x", "<->", "y"), ("y", "-->", "z")])
    with pytest.raises(BadInput, match="x <-> y stands for a hidden common cause"):
        from_dagitty("dag{ x <-> y }")


@pytest.mark.parametrize(
    ("reader", "text", "why"),
    [
        (from_dot, "digraph { a -> }", "a name was expected near"),
        (from_dot, "digraph { a -> b", "cannot be read"),
        (from_dot, "digraph { a -- b }", "a -- b is no edge of a digraph in DOT"),
        (from_dot, "digraph { a -> b [arrowhead=tee] }", "the arrowhead 'tee' says no mark"),
        (from_dot, "digraph { graph [kind=TREE] a }", "'TREE' is no kind of graph"),
        (from_dot, "dag { a }", "begins with 'dag'; it should begin with digraph or graph"),
        (from_dot, "digraph { a ! }", "line 1 has '!'"),
        (from_dot, "", "more was expected"),
        (from_dagitty, "digraph { a }", "begins with 'digraph'"),
        (from_dagitty, "dag { a -> b } c", "the closing brace was expected"),
        (from_dagitty, "dag { a -> b b -> a }", "have two edges"),
        (from_gml, "graph [ node [ id 0 ]", "this GML text cannot be read"),
    ],
)
def test_text_that_says_no_graph_is_refused(reader, text, why):
    with pytest.raises(BadInput, match=why):
        reader(text)


def test_matrices_that_say_no_graph_are_refused():
    with pytest.raises(BadInput, match="causal-learn's code 5 is no single edge's mark"):
        from_causallearn_matrix([[0, 5], [5, 0]], "PAG")
    with pytest.raises(BadInput, match="holds whole numbers"):
        from_causallearn_matrix([[0, 0.5], [0.5, 0]], "PAG")
    with pytest.raises(BadInput, match="is square, this one is 2"):
        from_pcalg_matrix([1, 2], "PAG")
    with pytest.raises(BadInput, match="holds 0 and 1, this one 2"):
        from_pcalg_matrix([[0, 2], [1, 0]], "CPDAG")
    with pytest.raises(BadInput, match="a list is no graph of causal-learn"):
        from_causallearn([], "CPDAG")


@pytest.fixture
def causallearn(recwarn):
    return pytest.importorskip("causallearn.graph.GeneralGraph", exc_type=ImportError)


@pytest.fixture
def pgmpy(recwarn):
    return pytest.importorskip("pgmpy.base", exc_type=ImportError)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("graph", ALL, ids=lambda g: f"{g.kind}{len(g)}")
def test_causal_learn_holds_the_same_graph(graph, causallearn):
    made = to_causallearn(graph)
    assert np.array_equal(made.graph, to_causallearn_matrix(graph))
    assert from_causallearn(made, graph.kind) == graph
    assert from_causallearn((made, []), graph.kind) == graph
    assert from_causallearn({"G": made}, graph.kind) == graph
    nodes = {node.get_name(): node for node in made.get_nodes()}
    for a in graph.names:
        for b in graph.names:
            if a == b:
                continue
            assert made.is_directed_from_to(nodes[a], nodes[b]) == (a in graph.parents(b))
            assert made.is_adjacent_to(nodes[a], nodes[b]) == (a in graph.adjacent(b))


@pytest.mark.filterwarnings("ignore")
def test_causal_learn_completes_dags_and_measures_distances_alike(causallearn):
    from causallearn.graph.Dag import Dag
    from causallearn.graph.GraphNode import GraphNode
    from causallearn.graph.SHD import SHD
    from causallearn.utils.DAG2CPDAG import dag2cpdag

    from intaglio.causal.graphs.distances import shd

    random = np.random.default_rng(1)
    found = []
    for _ in range(30):
        dag = Graph.from_adjacency("DAG", random_dag(random, 8, random.uniform(0.1, 0.7)), named(8))
        nodes = {name: GraphNode(name) for name in dag.names}
        theirs = Dag(list(nodes.values()))
        for edge in dag.edges:
            theirs.add_directed_edge(nodes[edge.first], nodes[edge.second])
        assert from_causallearn(dag2cpdag(theirs), "CPDAG") == dag.cpdag()
        found.append(dag.cpdag())
    for one, two in pairwise(found):
        assert SHD(to_causallearn(one), to_causallearn(two)).get_shd() == shd(one, two)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("graph", SINGLE, ids=lambda g: f"{g.kind}{len(g)}")
def test_pgmpy_holds_the_same_graph(graph, pgmpy):
    made = to_pgmpy(graph)
    assert list(made.nodes()) == list(graph.names) or set(made.nodes()) == set(graph.names)
    assert from_pgmpy(made, graph.kind if graph.kind == "MPDAG" else None) == graph
    if graph.kind == "DAG":
        assert from_pgmpy(made.to_pdag()) == graph.cpdag()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_pgmpy_reads_our_dagitty_and_we_its_examples(pgmpy):
    from importlib.resources import files

    graph = Graph.of("DAG", "ABCD", [("A", "-->", "B"), ("C", "-->", "B")])
    assert from_pgmpy(pgmpy.DAG.from_dagitty(to_dagitty(graph))) == graph
    assert from_dagitty(pgmpy.DAG([("A", "B"), ("C", "B")]).to_dagitty()) == from_dagitty("dag{A -> B <- C}")
    looked = 0
    for path in (files("pgmpy.utils") / "example_models").iterdir():
        if path.name.endswith(".txt"):
            text = path.read_text()
            if "<->" in text:
                with pytest.raises(BadInput, match="stands for a hidden common cause"):
                    from_dagitty(text)
            else:
                assert len(from_dagitty(text).edges) == text.count("->")
                looked += 1
    assert looked >= 5


@pytest.mark.filterwarnings("ignore")
def test_a_mag_is_no_graph_of_pgmpys_dag_or_pdag():
    with pytest.raises(BadInput, match="a MAG allows for hidden causes"):
        to_pgmpy(Graph.of("MAG", "AB", [("A", "<->", "B")]))
