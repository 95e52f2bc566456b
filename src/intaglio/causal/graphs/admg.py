"""`ADMG`: acyclic directed mixed graph, its classes, its margin over some of its variables, and its MAG."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark
from intaglio.causal.graphs.paths import cycle, descendants
from intaglio.causal.graphs.separation import joined_by_inducing_paths
from intaglio.errors import BadInput

ADMGClass = Literal["ancestral", "arid", "bow-free"]
"""Classes of ADMGs, each within the next: no variable is an ancestor of one that it shares a hidden cause with; no
non-trivial converging arborescence; no pair with both an arrow and a hidden common cause."""


@dataclass(frozen=True, eq=False)
class ADMG:
    """Arrows without a cycle and double arrows i ↔ j for hidden common causes; a pair may have both (a bow).

    Raises:
        BadInput: a directed cycle, an edge of a variable to itself, or matrices that are not of the names.
    """

    names: tuple[str, ...]
    directed: Bool[ndarray, "d d"]
    """[i, j]: i → j; read-only."""
    bidirected: Bool[ndarray, "d d"]
    """[i, j]: i ↔ j; symmetric, read-only."""

    def __post_init__(self):
        d = len(self.names)
        for name in ("directed", "bidirected"):
            matrix = np.array(getattr(self, name), bool)
            if matrix.shape != (d, d):
                raise BadInput(f"{name} has the shape {list(matrix.shape)}; {d} variables have [{d}, {d}]")
            if (loops := np.flatnonzero(matrix.diagonal())).size:
                raise BadInput(f"{self.names[loops[0]]} has an edge to itself; take it out")
            matrix.setflags(write=False)
            object.__setattr__(self, name, matrix)
        if len(set(self.names)) < d:
            raise BadInput("two variables have one name; give each a name of its own")
        if not np.array_equal(self.bidirected, self.bidirected.T):
            raise BadInput("bidirected is not symmetric; i ↔ j and j ↔ i are one edge")
        if found := cycle(self.directed):
            chain = " → ".join(self.names[k] for k in [*found, found[0]])
            raise BadInput(f"{chain} is a directed cycle; take one of its arrows out")

    @classmethod
    def of(cls, names: Iterable[str], edges: Iterable[tuple[str, str, str]] = ()) -> "ADMG":
        """From triples such as `("A", "-->", "B")` and `("A", "<->", "B")`; a pair may have one of each."""
        names = tuple(names)
        index = {name: k for k, name in enumerate(names)}
        matrices = {"-->": np.zeros((len(names),) * 2, bool), "<->": np.zeros((len(names),) * 2, bool)}
        for first, sign, second in edges:
            if sign not in matrices or first not in index or second not in index:
                raise BadInput(f"{first} {sign} {second} is no edge of an ADMG of {', '.join(names)}; write --> or <->")
            matrices[sign][index[first], index[second]] = True
        return cls(names, matrices["-->"], matrices["<->"] | matrices["<->"].T)

    @classmethod
    def from_graph(cls, graph: Graph) -> "ADMG":
        """The ADMG with the edges of a DAG, or of a MAG without undirected edges; `BadInput` for other graphs."""
        if graph.kind not in ("DAG", "MAG"):
            raise BadInput(f"a {graph.kind} stands for many graphs; give one of its DAGs or MAGs")
        if graph.undirected.any():
            raise BadInput("a MAG with undirected edges speaks of selection, which an ADMG does not; take them out")
        return cls(graph.names, graph.directed, graph.bidirected)

    @cached_property
    def ancestors(self) -> Bool[ndarray, "d d"]:
        """[i, j]: i is j, or a directed path leads from i to j."""
        return descendants(self.directed) | np.eye(len(self.names), dtype=bool)

    def belongs_to(self, kind: ADMGClass) -> bool:
        """Whether the graph is of a class."""
        if kind == "ancestral":
            return not (self.ancestors & self.bidirected).any()
        if kind == "bow-free":
            return not (self.directed & self.bidirected).any()
        return all(len(self.arborescence(k)) == 1 for k in range(len(self.names)))

    def arborescence(self, root: int) -> list[int]:
        """The indices of the largest converging arborescence of a variable: itself alone in an arid graph.

        In it directed paths lead from each member to the root, and double arrows connect all of them. It is what is
        left when members without a directed path, or without a path of double arrows, to the root are taken out by
        turns.
        """
        inside = np.ones(len(self.names), bool)
        while True:
            above = _connected(self.directed.T, root, inside)
            district = _connected(self.bidirected, root, above)
            if np.array_equal(district, inside):
                return np.flatnonzero(inside).tolist()
            inside = district

    def without(self, hidden: Iterable[str]) -> "ADMG":
        """The latent projection: the graph of the other variables where these are hidden (Verma and Pearl, 1990).

        A hidden variable's parents become parents of its children; its children, and its children and those that share
        a hidden cause with it, are joined by double arrows.

        Raises:
            BadInput: a name that is no variable.
        """
        hidden = list(hidden)
        if unknown := next((name for name in hidden if name not in self.names), None):
            raise BadInput(f"{unknown!r} is no variable of this graph; it has {', '.join(self.names)}")
        arrows, doubles = self.directed.copy(), self.bidirected.copy()
        for name in hidden:
            k = self.names.index(name)
            parents, children, spouses = arrows[:, k].copy(), arrows[k].copy(), doubles[k].copy()
            arrows |= np.outer(parents, children)
            doubles |= np.outer(children, children | spouses) | np.outer(children | spouses, children)
            np.fill_diagonal(doubles, False)
            arrows[k] = arrows[:, k] = doubles[k] = doubles[:, k] = False
        left = [k for k, name in enumerate(self.names) if name not in hidden]
        block = np.ix_(left, left)
        return ADMG(tuple(self.names[k] for k in left), arrows[block], doubles[block])

    def mag(self) -> Graph:
        """The MAG with the same m-separations (Richardson and Spirtes, Annals of Statistics 30, 2002).

        Two variables are adjacent where an edge or an inducing path joins them; the mark at i of i and j is a tail
        where i is an ancestor of j, and else an arrow.
        """
        joined = joined_by_inducing_paths(self.directed, self.bidirected)
        marks = np.where(joined, np.where(self.ancestors.T, Mark.TAIL, Mark.ARROW), Mark.NONE)
        return Graph("MAG", self.names, marks.astype(np.int8))


def pag_over(graph: Graph, names: Iterable[str]) -> Graph:
    """The PAG over these variables of a DAG or MAG, whose other variables are hidden; a PAG over them itself.

    Raises:
        BadInput: a variable that the graph lacks, or a kind of graph that has no one PAG over them.
    """
    names = tuple(names)
    if missing := next((name for name in names if name not in graph.names), None):
        raise BadInput(f"{missing!r} is no variable of the {graph.kind}; give a graph over all variables")
    hidden = [name for name in graph.names if name not in names]
    if hidden and graph.kind in ("DAG", "MAG"):
        return ADMG.from_graph(graph).without(hidden).mag().reordered(names).pag()
    return graph.pag().reordered(names)


def _connected(edges: Bool[ndarray, "d d"], start: int, inside: Bool[ndarray, "d"]) -> Bool[ndarray, "d"]:
    """The variables that paths along these edges lead to from `start`, without leaving `inside`."""
    reached = np.zeros(len(edges), bool)
    reached[start] = True
    while True:
        more = reached | (edges[reached].any(0) & inside)
        if np.array_equal(more, reached):
            return reached
        reached = more
