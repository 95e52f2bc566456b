"""Validity checks of DAGs, CPDAGs, MPDAGs, MAGs and PAGs; an error names the variables and a remedy."""

from collections.abc import Sequence

import networkx as nx
import numpy as np
from jaxtyping import Bool, Int8
from numpy import ndarray

from intaglio.causal.graphs.marks import ALLOWED_EDGES, GRAPH_KINDS, GraphKind, Mark, sign_of
from intaglio.causal.graphs.meek import apart, closure, extension
from intaglio.causal.graphs.paths import boolean_product, cycle, descendants, path
from intaglio.causal.graphs.separation import inducing_pair
from intaglio.errors import BadInput

Names = tuple[str, ...]


def check(kind: GraphKind, names: Names, marks: Int8[ndarray, "d d"]) -> None:
    """Raises `BadInput` unless the marks are a graph of that kind over the names; see `Graph`."""
    _check_names(kind, names, marks)
    _check_edges(kind, names, marks)
    directed, undirected = arrows(marks), lines(marks)
    if found := cycle(directed):
        raise BadInput(f"{_chain(names, [*found, found[0]], ' → ')} is a directed cycle; take one of its arrows out")
    if kind == "CPDAG":
        _check_cpdag(names, directed, undirected)
    elif kind == "MPDAG":
        _check_mpdag(names, directed, undirected)
    elif kind in ("MAG", "PAG"):
        _check_ancestral(kind, names, marks)
    if kind == "MAG" and (pair := inducing_pair(marks)):
        raise BadInput(
            f"{names[pair[0]]} and {names[pair[1]]} are not adjacent, yet nothing separates them, so this is no MAG; "
            "join them by the edge that their ancestors ask for"
        )


def arrows(marks: Int8[ndarray, "d d"]) -> Bool[ndarray, "d d"]:
    """[i, j]: i → j, a tail at i and an arrow at j."""
    return (marks == Mark.ARROW) & (marks.T == Mark.TAIL)


def lines(marks: Int8[ndarray, "d d"]) -> Bool[ndarray, "d d"]:
    """[i, j]: i — j, tails at both."""
    return (marks == Mark.TAIL) & (marks.T == Mark.TAIL)


def double_arrows(marks: Int8[ndarray, "d d"]) -> Bool[ndarray, "d d"]:
    """[i, j]: i ↔ j, arrows at both."""
    return (marks == Mark.ARROW) & (marks.T == Mark.ARROW)


def _check_names(kind: GraphKind, names: Names, marks: Int8[ndarray, "d d"]) -> None:
    if kind not in GRAPH_KINDS:
        raise BadInput(f"{kind!r} is no kind of graph; give one of {', '.join(GRAPH_KINDS)}")
    if repeated := next((name for k, name in enumerate(names) if name in names[:k]), None):
        raise BadInput(f"two variables are named {repeated!r}; give each a name of its own")
    if "" in names:
        raise BadInput(f"variable {names.index('') + 1} has an empty name; give each a name of its own")
    if len(names) != len(marks):
        raise BadInput(f"{len(names)} names do not fit marks of {len(marks)} variables; give one name for each")


def _check_edges(kind: GraphKind, names: Names, marks: Int8[ndarray, "d d"]) -> None:
    if marks.size and not (marks.min() >= 0 and marks.max() <= max(Mark)):
        raise BadInput(f"marks are 0 to {max(Mark):d}, these hold {int(marks.min())} to {int(marks.max())}; see `Mark`")
    if (loops := np.flatnonzero(marks.diagonal())).size:
        raise BadInput(f"{names[loops[0]]} has an edge to itself; take it out")
    half = (marks == 0) != (marks.T == 0)
    if half.any():
        a, b = np.argwhere(half)[0]
        raise BadInput(f"the edge of {names[a]} and {names[b]} has one mark only; give one for each end")
    for a, b in np.argwhere(np.triu(marks)):
        pair = (Mark(marks[b, a]), Mark(marks[a, b]))
        if pair not in ALLOWED_EDGES[kind] and pair[::-1] not in ALLOWED_EDGES[kind]:
            raise BadInput(f"{names[a]} {sign_of(*pair)} {names[b]} is no edge of a {kind}; {_instead(kind)}")


def _instead(kind: GraphKind) -> str:
    signs = ", ".join(sign_of(*pair) for pair in sorted(ALLOWED_EDGES[kind], reverse=True))
    return f"a {kind} holds {signs} only, so mark it otherwise or give another kind"


def _check_cpdag(names: Names, directed: Bool[ndarray, "d d"], undirected: Bool[ndarray, "d d"]) -> None:
    """Theorem 4.1 of Andersson, Madigan and Perlman, Annals of Statistics 25 (1997)."""
    loose = directed & descendants(directed | undirected).T
    if loose.any():
        a, b = np.argwhere(loose)[0]
        back = path(directed | undirected, int(b), int(a))
        raise BadInput(
            f"{names[a]} → {names[b]} closes a partly directed cycle through {_listed(names, back)}, "
            "so this is no CPDAG; take it from a DAG or an extension"
        )
    if ring := chordless(undirected):
        raise BadInput(
            f"the undirected cycle {_chain(names, [*ring, ring[0]], ' — ')} has no chord, so no DAG has this CPDAG; "
            "join two of its variables or orient edges"
        )
    away = apart(directed | directed.T | undirected)
    if (flags := undirected & boolean_product(directed.T, away)).any():
        b, c = np.argwhere(flags)[0]
        a = np.flatnonzero(directed[:, b] & away[:, c])[0]
        raise BadInput(
            f"{names[a]} → {names[b]} — {names[c]} with {names[a]} and {names[c]} not adjacent leaves one direction "
            f"only, so in a CPDAG it reads {names[b]} → {names[c]}; apply the orientation rules first"
        )
    if (bare := directed & ~protected(directed, undirected)).any():
        a, b = np.argwhere(bare)[0]
        raise BadInput(
            f"nothing in the graph compels {names[a]} → {names[b]}, so in a CPDAG it reads {names[a]} — {names[b]}; "
            "orient it so only in an MPDAG, where knowledge may"
        )


def protected(directed: Bool[ndarray, "d d"], undirected: Bool[ndarray, "d d"]) -> Bool[ndarray, "d d"]:
    """Strongly protected arrows: those in one of the four configurations that compel them (same source)."""
    away = apart(directed | directed.T | undirected)
    kept = boolean_product(directed.T, away) | boolean_product(away, directed) | boolean_product(directed, directed)
    for a in range(len(directed)):
        through = undirected[a][:, None] & directed
        kept[a] |= (through & boolean_product(away, through)).any(0)
    return directed & kept


def _check_mpdag(names: Names, directed: Bool[ndarray, "d d"], undirected: Bool[ndarray, "d d"]) -> None:
    more, _ = closure(directed, undirected, knowledge=True)
    if (new := more & ~directed).any():
        a, b = np.argwhere(new)[0]
        raise BadInput(
            f"{names[a]} — {names[b]} can only be {names[a]} → {names[b]}, so this is no MPDAG; "
            "apply the orientation rules first"
        )
    if extension(directed, undirected) is None:
        raise BadInput(
            f"no DAG agrees with all the arrows among {_listed(names, np.flatnonzero(undirected.any(0)))}; "
            "take back some of the knowledge"
        )


def _check_ancestral(kind: GraphKind, names: Names, marks: Int8[ndarray, "d d"]) -> None:
    """Ancestrality by Richardson and Spirtes, Annals of Statistics 30 (2002), of the marks that are no circles."""
    directed = arrows(marks)
    almost = double_arrows(marks) & descendants(directed)
    if almost.any():
        a, b = np.argwhere(almost)[0]
        raise BadInput(
            f"{names[a]} ↔ {names[b]} while {_chain(names, path(directed, int(a), int(b)), ' → ')} "
            f"is an almost directed cycle, so this is no {kind}; take one of the edges out"
        )
    headed = lines(marks) & (marks == Mark.ARROW).any(0)
    if headed.any():
        a, b = np.argwhere(headed)[0]
        raise BadInput(
            f"{names[a]} — {names[b]} with an arrow into {names[b]} cannot stand in a {kind}; mark it otherwise"
        )


def chordless(undirected: Bool[ndarray, "d d"]) -> list[int]:
    """The indices along an undirected cycle of four or more without a chord; empty where there is none."""
    graph = nx.from_numpy_array(undirected)
    if not len(graph) or nx.is_chordal(graph):
        return []
    for middle in graph:
        around = set(graph[middle])
        rest = graph.subgraph(set(graph) - around - {middle})
        for part in nx.connected_components(rest):
            # Two neighbours of `middle` that are not adjacent and both touch the part lie on a cycle without a chord.
            touching = [i for i in sorted(around) if any(j in part for j in graph[i])]
            for first, last in ((i, j) for i in touching for j in touching if i < j and not graph.has_edge(i, j)):
                route = nx.shortest_path(graph.subgraph({*part, first, last}), first, last)
                return [int(i) for i in (middle, *route)]
    return []


def _chain(names: Names, indices: Sequence[int], sign: str) -> str:
    return sign.join(names[i] for i in indices)


def _listed(names: Names, indices: Sequence[int] | Bool[ndarray, "k"] | ndarray, most: int = 6) -> str:
    shown = [names[int(i)] for i in indices]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
