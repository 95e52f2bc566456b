"""Writing and reading of graphs as GML, DOT (graphviz) and DAGitty text."""

import re

import networkx as nx

from intaglio.causal.formats.dot_parser import block, parsed, quote
from intaglio.causal.formats.packages import from_networkx, to_networkx
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import GRAPH_KINDS, GraphKind, Mark, sign_of
from intaglio.errors import BadInput

DOT_HEADS = {Mark.TAIL: "none", Mark.ARROW: "normal", Mark.CIRCLE: "odot"}
"""Marks as values of graphviz's `arrowhead` and `arrowtail`."""
DOT_HEADS_READ = {
    **{word: mark for mark, word in DOT_HEADS.items()},
    "vee": Mark.ARROW,
    "dot": Mark.CIRCLE,
    "open": Mark.ARROW,
}
DEEPEST_GML = 100
"""Deepest nesting of lists in GML that is read; deeper ones overrun the stack."""
DAGITTY_TYPES = {"DAG": "dag", "CPDAG": "pdag", "MPDAG": "pdag", "MAG": "mag", "PAG": "pag"}
DAGITTY_TYPES_READ: dict[str, GraphKind] = {"dag": "DAG", "pdag": "CPDAG", "mag": "MAG", "pag": "PAG"}
DAGITTY_SIGNS = {"-->": "->", "---": "--", "<->": "<->", "o-o": "@-@", "o->": "@->", "o--": "@--", "--o": "--@"}
"""Signs of edges in DAGitty, whose circle is an @."""
DAGITTY_ENDS = {"<": Mark.ARROW, ">": Mark.ARROW, "-": Mark.TAIL, "@": Mark.CIRCLE}


def to_gml(graph: Graph) -> str:
    """GML as networkx writes it, with the attributes of `to_networkx`; characters outside ASCII become entities."""
    return "\n".join(nx.generate_gml(to_networkx(graph))) + "\n"


def from_gml(text: str, kind: GraphKind | None = None) -> Graph:
    """Reads `to_gml`'s text, or any directed GML with labels as `from_networkx` does; `BadInput` for other text."""
    if _nested(text) > DEEPEST_GML:
        raise BadInput(f"this GML text nests deeper than {DEEPEST_GML}, which no graph needs; export it again")
    try:
        made = nx.parse_gml(text)
    except (nx.NetworkXError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise BadInput(f"this GML text cannot be read: {error}; check it there") from error
    return from_networkx(made, kind)


def _nested(text: str) -> int:
    """Most square brackets that are open at once, without those in quotes."""
    depth = deepest = 0
    for sign in re.findall(r"[\[\]]", re.sub(r'"[^"]*"', "", text)):
        depth += 1 if sign == "[" else -1
        deepest = max(deepest, depth)
    return deepest


def to_dot(graph: Graph) -> str:
    """A digraph in the DOT language; both marks of an edge are its `arrowtail` and `arrowhead`, a circle is `odot`."""
    lines = [f"graph [kind={graph.kind}]", *map(quote, graph.names)]
    for edge in graph.edges:
        look = ""
        if (edge.at_first, edge.at_second) != (Mark.TAIL, Mark.ARROW):
            look = f" [dir=both, arrowtail={DOT_HEADS[edge.at_first]}, arrowhead={DOT_HEADS[edge.at_second]}]"
        lines.append(f"{quote(edge.first)} -> {quote(edge.second)}{look}")
    return block("digraph", lines)


def from_dot(text: str, kind: GraphKind | None = None) -> Graph:
    """Reads DOT: marks are in `dir`, `arrowhead` and `arrowtail`, `->` is an arrow, `--` in a `graph` is undirected.

    Args:
        text: a `digraph` or `graph`.
        kind: kind of graph; by default the attribute `kind`, and without it "DAG" ("CPDAG" for a `graph`).
    """
    found = parsed(text, "DOT")
    if found.type not in ("digraph", "graph"):
        raise BadInput(f"this DOT text begins with {found.type!r}; it should begin with digraph or graph")
    kind = kind or _kind(found.attributes.get("kind", "DAG" if found.type == "digraph" else "CPDAG"))
    edges = []
    for first, sign, second, attributes in found.edges:
        if sign != ("->" if found.type == "digraph" else "--"):
            raise BadInput(f"{first} {sign} {second} is no edge of a {found.type} in DOT; its edges all have one sign")
        direction = attributes.get("dir", "forward" if found.type == "digraph" else "none")
        at_first = _end(attributes, "arrowtail") if direction in ("back", "both") else Mark.TAIL
        at_second = _end(attributes, "arrowhead") if direction in ("forward", "both") else Mark.TAIL
        edges.append((first, sign_of(at_first, at_second), second))
    return Graph.of(kind, found.names, edges)


def _end(attributes: dict[str, str], key: str) -> Mark:
    shape = attributes.get(key, "normal")
    if shape not in DOT_HEADS_READ:
        raise BadInput(f"the {key} {shape!r} says no mark; use one of {', '.join(DOT_HEADS_READ)}")
    return DOT_HEADS_READ[shape]


def _kind(word: str) -> GraphKind:
    if word not in GRAPH_KINDS:
        raise BadInput(f"{word!r} is no kind of graph; give one of {', '.join(GRAPH_KINDS)}")
    return GRAPH_KINDS[GRAPH_KINDS.index(word)]


def to_dagitty(graph: Graph) -> str:
    """DAGitty's text: `dag`, `pdag`, `mag` or `pag`; a circle is an @. That a `pdag` is an MPDAG is an attribute."""
    lines = [f"kind={graph.kind}"] if graph.kind == "MPDAG" else []
    lines += map(quote, graph.names)
    for edge in graph.edges:
        sign = DAGITTY_SIGNS[sign_of(edge.at_first, edge.at_second)]
        lines.append(f"{quote(edge.first)} {sign} {quote(edge.second)}")
    return block(DAGITTY_TYPES[graph.kind], lines)


def from_dagitty(text: str, kind: GraphKind | None = None) -> Graph:
    """Reads DAGitty's text without roles, positions and coefficients.

    A `pdag` is a CPDAG unless its attribute `kind` or the argument says MPDAG.

    Raises:
        BadInput: text that cannot be read, two edges of one pair, or `<->` in a `dag`: it stands for a common cause
            that has no name, so a DAG of the named variables does not hold it.
    """
    found = parsed(text, "DAGitty")
    if found.type not in DAGITTY_TYPES_READ:
        raise BadInput(f"this DAGitty text begins with {found.type!r}; it should begin with dag, pdag, mag or pag")
    edges = [(a, sign_of(DAGITTY_ENDS[sign[0]], DAGITTY_ENDS[sign[-1]]), b) for a, sign, b, _ in found.edges]
    told: GraphKind | None = "MPDAG" if found.type == "pdag" and found.attributes.get("kind") == "MPDAG" else None
    kind = kind or told or DAGITTY_TYPES_READ[found.type]
    if kind == "DAG" and (hidden := next(((a, b) for a, sign, b in edges if sign == "<->"), None)):
        raise BadInput(
            f"{hidden[0]} <-> {hidden[1]} stands for a hidden common cause; name it, or read the text as a MAG"
        )
    return Graph.of(kind, found.names, edges)
