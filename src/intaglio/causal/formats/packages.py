"""Conversion of graphs to and from networkx, pgmpy and causal-learn; the last two are imported when called."""

from collections.abc import Hashable, Iterable
from typing import Any

import networkx as nx

from intaglio.causal.formats.matrices import from_causallearn_matrix
from intaglio.causal.graphs.graph import Graph, no_marks
from intaglio.causal.graphs.marks import GRAPH_KINDS, GraphKind, Mark, sign_of
from intaglio.errors import BadInput, IntaglioError

MARK_NAMES = {Mark.TAIL: "tail", Mark.ARROW: "arrow", Mark.CIRCLE: "circle"}
EDGE_NAMES = {"-->": "directed", "---": "undirected", "<->": "bidirected", "o->": "partly directed", "o-o": "circles"}


def to_networkx(graph: Graph) -> nx.DiGraph:
    """A DiGraph with the attributes `mark`, `at_source` and `at_target` on each arc, and `kind` on the graph.

    networkx has no mixed graph: an edge with the same mark at both ends becomes two arcs, any other becomes one.
    """
    made = nx.DiGraph(kind=graph.kind)
    made.add_nodes_from(graph.names)
    for edge in graph.edges:
        sign = sign_of(edge.at_first, edge.at_second)
        ends = [(edge.first, edge.second, edge.at_first, edge.at_second)]
        if edge.at_first == edge.at_second:
            ends.append((edge.second, edge.first, edge.at_second, edge.at_first))
        for a, b, at_a, at_b in ends:
            made.add_edge(
                a,
                b,
                mark=EDGE_NAMES.get(sign, "circle and tail"),
                at_source=MARK_NAMES[at_a],
                at_target=MARK_NAMES[at_b],
            )
    return made


def from_networkx(made: nx.Graph, kind: GraphKind | None = None) -> Graph:
    """A graph from the result of `to_networkx`, or from any DiGraph, where opposite arcs are an undirected edge.

    Args:
        made: a DiGraph with nodes of any type; names are their `str`.
        kind: kind of graph; by default the graph's attribute `kind`, and without it "DAG".

    Raises:
        BadInput: an undirected networkx graph or one with parallel edges, an unknown mark, or no graph of that kind.
    """
    if not made.is_directed() or made.is_multigraph():
        raise BadInput(f"a networkx DiGraph is asked for, not a {type(made).__name__}; convert it first")
    kind = made.graph.get("kind", "DAG") if kind is None else kind
    if kind not in GRAPH_KINDS:
        raise BadInput(f"{kind!r} is no kind of graph; give one of {', '.join(GRAPH_KINDS)}")
    index = {node: k for k, node in enumerate(made)}
    marks = no_marks(len(index))
    for a, b, attributes in made.edges(data=True):
        both = made.has_edge(b, a)
        at_a, at_b = _marks_of(attributes, (Mark.TAIL, Mark.TAIL if both else Mark.ARROW), f"{a} → {b}")
        i, j = index[a], index[b]
        if both and marks[i, j] and (marks[j, i], marks[i, j]) != (at_a, at_b):
            raise BadInput(f"the two arcs of {a} and {b} have different marks; give one edge a pair")
        marks[j, i], marks[i, j] = at_a, at_b
    return Graph(kind, tuple(map(str, made)), marks)


def _marks_of(attributes: dict[str, Any], usual: tuple[Mark, Mark], arc: str) -> tuple[Mark, Mark]:
    codes = {word: mark for mark, word in MARK_NAMES.items()}
    words = [attributes.get(key, MARK_NAMES[mark]) for key, mark in zip(("at_source", "at_target"), usual, strict=True)]
    if unknown := next((word for word in words if word not in codes), None):
        raise BadInput(f"{arc} has the mark {unknown!r}; it is one of {', '.join(codes)}")
    return codes[words[0]], codes[words[1]]


def to_pgmpy(graph: Graph) -> Any:
    """The `DAG` of pgmpy for a DAG, its `PDAG` for a CPDAG or MPDAG.

    Raises:
        BadInput: a MAG or PAG. IntaglioError: pgmpy is not installed.
    """
    graph.require_dags()
    try:
        from pgmpy.base import DAG, PDAG  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise IntaglioError(f"pgmpy cannot be imported ({error}); install it: pip install pgmpy") from error
    arcs, lines = _pairs(graph, "-->"), _pairs(graph, "---")
    made = DAG(arcs) if graph.kind == "DAG" else PDAG(directed_ebunch=arcs, undirected_ebunch=lines)
    made.add_nodes_from(graph.names)
    return made


def _pairs(graph: Graph, sign: str) -> list[tuple[Hashable, Hashable]]:
    return [(e.first, e.second) for e in graph.edges if sign_of(e.at_first, e.at_second) == sign]


def from_pgmpy(made: Any, kind: GraphKind | None = None) -> Graph:
    """A graph from pgmpy's `DAG` (also a Bayesian network) or `PDAG`, which is a CPDAG unless `kind` differs."""
    partly = hasattr(made, "undirected_edges")
    plain = nx.DiGraph()
    plain.add_nodes_from(made.nodes())
    plain.add_edges_from(made.edges())
    return from_networkx(plain, kind or ("CPDAG" if partly else "DAG"))


def to_causallearn(graph: Graph) -> Any:
    """causal-learn's `GeneralGraph`, with a `GraphNode` for each variable.

    Raises:
        IntaglioError: causal-learn is not installed.
    """
    try:
        from causallearn.graph.Edge import Edge  # pyright: ignore[reportMissingImports]
        from causallearn.graph.Endpoint import Endpoint  # pyright: ignore[reportMissingImports]
        from causallearn.graph.GeneralGraph import GeneralGraph  # pyright: ignore[reportMissingImports]
        from causallearn.graph.GraphNode import GraphNode  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise IntaglioError(
            f"causal-learn cannot be imported ({error}); install it: pip install causal-learn"
        ) from error
    nodes = {name: GraphNode(name) for name in graph.names}
    ends = {Mark.TAIL: Endpoint.TAIL, Mark.ARROW: Endpoint.ARROW, Mark.CIRCLE: Endpoint.CIRCLE}
    made = GeneralGraph(list(nodes.values()))
    for edge in graph.edges:
        pairs = [(edge.first, edge.at_first), (edge.second, edge.at_second)]
        # `add_edge` accepts a circle and a tail only with the tail first.
        (a, at_a), (b, at_b) = sorted(pairs, key=lambda pair: pair[1] != Mark.TAIL)
        made.add_edge(Edge(nodes[a], nodes[b], ends[at_a], ends[at_b]))
    return made


def from_causallearn(made: Any, kind: GraphKind, names: Iterable[str] | None = None) -> Graph:
    """A graph from the result of a search by causal-learn.

    Args:
        made: a `GeneralGraph` or `Dag`, the `CausalGraph` of `pc`, the dictionary of `ges`, the pair of `fci`.
        kind: kind of graph that the search returns: "CPDAG" for PC and GES, "PAG" for FCI.
        names: names of the variables; by default those of its nodes.
    """
    if isinstance(made, dict):
        made = made.get("G")
    elif isinstance(made, tuple):
        made = made[0]
    made = getattr(made, "G", made)
    if not hasattr(made, "graph") or not hasattr(made, "get_nodes"):
        raise BadInput(f"a {type(made).__name__} is no graph of causal-learn; give a GeneralGraph or a search's result")
    found = tuple(node.get_name() for node in made.get_nodes()) if names is None else tuple(names)
    return from_causallearn_matrix(made.graph, kind, found)
