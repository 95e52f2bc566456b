"""Graphs as matrices of other packages: causal-learn's endpoint codes, pcalg's two kinds of `amat`.

causal-learn: entry [a, b] is the mark at a (`GeneralGraph.add_directed_edge` stores i → j as [j, i] = 1, [i, j] = -1),
for CPDAGs and PAGs alike. pcalg's `amat.pag`: entry [a, b] is the mark at b; its `amat.cpdag`: an entry [a, b] of 1
is an edge that does not point from a away, so i → j is [j, i] = 1 alone (help page `amatType`).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from numpy.typing import ArrayLike

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import GraphKind, Mark
from intaglio.errors import BadInput

CAUSAL_LEARN = {0: Mark.NONE, -1: Mark.TAIL, 1: Mark.ARROW, 2: Mark.CIRCLE}
"""Codes of causal-learn's `Endpoint`; 3, 4 and 5 are a star and ends of double edges, which a `Graph` cannot have."""


def to_causallearn_matrix(graph: Graph) -> Int[ndarray, "d d"]:
    """The matrix of causal-learn's `GeneralGraph.graph`, with the variables in the graph's order."""
    codes = np.zeros(4, np.int64)
    for code, mark in CAUSAL_LEARN.items():
        codes[mark] = code
    return codes[graph.marks.T]


def from_causallearn_matrix(matrix: ArrayLike, kind: GraphKind, names: Sequence[str] | None = None) -> Graph:
    """A graph from `GeneralGraph.graph`; names default to causal-learn's own, X1, X2, …

    Raises:
        BadInput: an entry is none of -1, 0, 1 and 2, or the marks are no graph of that kind.
    """
    codes = _square(matrix)
    if unknown := sorted(set(codes.ravel().tolist()) - set(CAUSAL_LEARN)):
        raise BadInput(f"causal-learn's code {unknown[0]} is no single edge's mark; give a graph of single edges")
    marks = np.zeros(codes.shape, np.int8)
    for code, mark in CAUSAL_LEARN.items():
        marks[np.equal(codes.T, code)] = mark
    return Graph(kind, _named(names, len(codes), "X", 1), marks)


def to_pcalg_matrix(graph: Graph) -> Int[ndarray, "d d"]:
    """The `amat.cpdag` of pcalg for a DAG, CPDAG or MPDAG; its `amat.pag` for a MAG or PAG."""
    if graph.kind in ("MAG", "PAG"):
        return graph.marks.astype(np.int64)
    return graph.adjacency.T.astype(np.int64)


def from_pcalg_matrix(matrix: ArrayLike, kind: GraphKind, names: Sequence[str] | None = None) -> Graph:
    """A graph from pcalg's `amat.cpdag` (DAG, CPDAG, MPDAG) or `amat.pag` (MAG, PAG); names default to V1, V2, …"""
    codes = _square(matrix)
    names = _named(names, len(codes), "V", 1)
    if kind in ("MAG", "PAG"):
        return Graph(kind, names, codes.astype(np.int8))
    if unknown := sorted(set(codes.ravel().tolist()) - {0, 1}):
        raise BadInput(f"an amat.cpdag holds 0 and 1, this one {unknown[0]}; give an amat.pag as a MAG or PAG")
    return Graph.from_adjacency(kind, codes.T, names)


def _square(matrix: ArrayLike) -> Int[ndarray, "d d"]:
    codes = np.asarray(matrix)
    if codes.ndim != 2 or codes.shape[0] != codes.shape[1]:
        raise BadInput(f"a matrix of marks is square, this one is {' × '.join(map(str, codes.shape))}")
    if codes.size and not np.array_equal(codes, np.round(codes)):
        raise BadInput("a matrix of marks holds whole numbers, this one others; give the marks, not weights")
    return codes.astype(np.int64)


def _named(names: Sequence[str] | None, count: int, letter: str, first: int) -> tuple[str, ...]:
    return tuple(f"{letter}{k + first}" for k in range(count)) if names is None else tuple(names)
