"""`Graph`: a DAG, CPDAG, MPDAG, MAG or PAG over named variables, checked when it is made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int8
from numpy import ndarray
from numpy.typing import ArrayLike

from intaglio.causal.graphs import meek, separation
from intaglio.causal.graphs.marks import GraphKind, Mark, parse_sign, sign_of
from intaglio.causal.graphs.pag import pag_marks
from intaglio.causal.graphs.validity import arrows, check, double_arrows, lines
from intaglio.errors import BadInput

MOST_VARIABLES = 10_000
"""Most variables of a graph; the checks take time with their cube."""


@dataclass(frozen=True, order=True)
class Edge:
    """An edge with a mark at each end; where only one end has an arrowhead, it is at `second`."""

    first: str
    second: str
    at_first: Mark
    at_second: Mark

    def __str__(self) -> str:
        return f"{self.first} {sign_of(self.at_first, self.at_second)} {self.second}"


@dataclass(frozen=True, eq=False)
class Graph:
    """Variables and the marks of their edges; graphs with equal kind, names and edges are equal, in any order.

    Raises:
        BadInput: the marks are no graph of that kind: a directed cycle; a CPDAG that is not the one of its class; an
            MPDAG that is not closed under Meek's rules or has no DAG; a MAG that is not ancestral or not maximal; a PAG
            whose marks other than circles are not ancestral (whether it has a MAG is not checked).
    """

    kind: GraphKind
    names: tuple[str, ...]
    """Names of the variables, in the order of the axes of `marks`."""
    marks: Int8[ndarray, "d d"]
    """[i, j]: the `Mark` at j of the edge between i and j, 0 where there is none; read-only."""

    def __post_init__(self):
        marks = np.array(self.marks, np.int8)
        check(self.kind, self.names, marks)
        marks.setflags(write=False)
        object.__setattr__(self, "marks", marks)

    @classmethod
    def of(cls, kind: GraphKind, names: Iterable[str], edges: Iterable[tuple[str, str, str]] = ()) -> "Graph":
        """From triples such as `("A", "-->", "B")`, `("A", "o->", "B")`, `("A", "---", "B")`."""
        names = tuple(names)
        index = {name: k for k, name in enumerate(names)}
        marks = no_marks(len(names))
        for first, sign, second in edges:
            for name in (first, second):
                if name not in index:
                    raise BadInput(
                        f"the edge {first} {sign} {second} names {name!r}, which is no variable; add its name"
                    )
            i, j = index[first], index[second]
            if marks[i, j] or marks[j, i]:
                raise BadInput(f"{first} and {second} have two edges; a graph of one edge a pair is asked for")
            marks[j, i], marks[i, j] = parse_sign(sign)
        return cls(kind, names, marks)

    @classmethod
    def from_adjacency(cls, kind: GraphKind, adjacency: ArrayLike, names: Sequence[str] | None = None) -> "Graph":
        """A DAG, CPDAG or MPDAG from a matrix [d, d]: non-zero [i, j] is i → j, both [i, j] and [j, i] are i — j.

        This is the convention of networkx, pgmpy, gcastle, NOTEARS and AVICI; weights count as edges. Names default to
        x0, x1, …
        """
        matrix = np.asarray(adjacency) != 0
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise BadInput(f"an adjacency matrix is square, this one is {' × '.join(map(str, matrix.shape))}")
        names = tuple(f"x{k}" for k in range(len(matrix))) if names is None else tuple(names)
        marks = np.where(matrix & ~matrix.T, Mark.ARROW, Mark.NONE) + np.where(matrix.T, Mark.TAIL, Mark.NONE)
        return cls(kind, names, marks.astype(np.int8))

    @cached_property
    def adjacency(self) -> Bool[ndarray, "d d"]:
        """[i, j]: i → j or i — j, the inverse of `from_adjacency`; `BadInput` for a MAG or PAG."""
        self.require_dags()
        return self.marks.T == Mark.TAIL

    def require_dags(self) -> None:
        """Raises `BadInput` for a MAG or PAG, which is neither a DAG nor a class of DAGs."""
        if self.kind in ("MAG", "PAG"):
            raise BadInput(
                f"a {self.kind} allows for hidden causes and stands for no DAG; a DAG, CPDAG or MPDAG is needed"
            )

    @cached_property
    def skeleton(self) -> Bool[ndarray, "d d"]:
        """[i, j]: i and j are adjacent."""
        return self.marks != 0

    @cached_property
    def directed(self) -> Bool[ndarray, "d d"]:
        """[i, j]: i → j."""
        return arrows(self.marks)

    @cached_property
    def undirected(self) -> Bool[ndarray, "d d"]:
        """[i, j]: i — j."""
        return lines(self.marks)

    @cached_property
    def bidirected(self) -> Bool[ndarray, "d d"]:
        """[i, j]: i ↔ j."""
        return double_arrows(self.marks)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """One for each adjacent pair, in the order of the names."""
        return tuple(self._edge(int(a), int(b)) for a, b in np.argwhere(np.triu(self.skeleton)))

    def _edge(self, a: int, b: int) -> Edge:
        pointing_back = self.marks[b, a] == Mark.ARROW != self.marks[a, b]
        first, second = (b, a) if pointing_back else (a, b)
        at_first, at_second = Mark(self.marks[second, first]), Mark(self.marks[first, second])
        return Edge(self.names[first], self.names[second], at_first, at_second)

    def parents(self, name: str) -> tuple[str, ...]:
        """Variables with a directed edge into this one."""
        return self._named(self.directed[:, self.index_of(name)])

    def children(self, name: str) -> tuple[str, ...]:
        """Variables that this one has a directed edge into."""
        return self._named(self.directed[self.index_of(name)])

    def adjacent(self, name: str) -> tuple[str, ...]:
        """Variables with any edge to this one."""
        return self._named(self.skeleton[self.index_of(name)])

    def index_of(self, name: str) -> int:
        """The index of a variable in `names`; `BadInput` for an unknown one."""
        if name not in self.names:
            raise BadInput(f"{name!r} is no variable of this graph; it has {', '.join(self.names)}")
        return self.names.index(name)

    def _named(self, chosen: Bool[ndarray, "d"]) -> tuple[str, ...]:
        return tuple(self.names[i] for i in np.flatnonzero(chosen))

    @cached_property
    def colliders(self) -> frozenset[tuple[str, frozenset[str]]]:
        """(centre, its two legs) of each unshielded collider."""
        found = set()
        for k in range(len(self.names)):
            heads = np.flatnonzero(self.marks[:, k] == Mark.ARROW)
            pairs = ((i, j) for i in heads for j in heads if i < j and not self.skeleton[i, j])
            found |= {(self.names[k], frozenset({self.names[i], self.names[j]})) for i, j in pairs}
        return frozenset(found)

    def separated(self, first: str, second: str, given: Iterable[str] = ()) -> bool:
        """Whether two variables of a DAG or MAG are m-separated (d-separated in a DAG) given others."""
        if self.kind not in ("DAG", "MAG"):
            raise BadInput(f"a {self.kind} stands for many graphs; ask for separation in one of its DAGs or MAGs")
        held = [self.index_of(name) for name in given]
        a, b = self.index_of(first), self.index_of(second)
        if a == b or a in held or b in held:
            raise BadInput(f"{first} and {second} must differ from each other and from what is given")
        return separation.separated(self.marks, a, b, held)

    def cpdag(self) -> "Graph":
        """The CPDAG of a DAG, or of the DAGs in an MPDAG; a CPDAG itself."""
        if self.kind == "CPDAG":
            return self
        dag = self if self.kind == "DAG" else self.extension()
        directed, undirected = meek.cpdag_of(dag.directed)
        return Graph.from_adjacency("CPDAG", directed | undirected, self.names)

    def pag(self, known: Bool[ndarray, "d d"] | None = None) -> "Graph":
        """The PAG of a MAG, or of a DAG, which is a MAG; a PAG itself.

        Args:
            known: [i, j]: background knowledge has it that the mark at j is this graph's; see `pag_marks`.

        Raises:
            BadInput: a CPDAG or MPDAG, which has many, or a MAG with undirected edges, which speak of selection.
        """
        if self.kind == "PAG":
            return self
        if self.kind not in ("DAG", "MAG") or self.undirected.any():
            raise BadInput(f"this {self.kind} has no PAG of its own; give a DAG, or a MAG without undirected edges")
        return Graph("PAG", self.names, pag_marks(self.marks, known))

    def extension(self) -> "Graph":
        """A DAG in the class of a CPDAG or MPDAG; a DAG itself."""
        self.require_dags()
        dag = meek.extension(self.directed, self.undirected)
        if dag is None:
            raise BadInput("this graph has no DAG that agrees with it")
        return Graph.from_adjacency("DAG", dag, self.names)

    def with_knowledge(self, arrows: Iterable[tuple[str, str]]) -> "Graph":
        """The MPDAG of a CPDAG or MPDAG with further edges oriented by knowledge, each given as (cause, effect).

        Raises:
            BadInput: the two are not adjacent, or no DAG of the class agrees.
        """
        self.require_dags()
        directed, undirected = self.directed.copy(), self.undirected.copy()
        for cause, effect in arrows:
            i, j = self.index_of(cause), self.index_of(effect)
            if not (directed[i, j] or undirected[i, j]):
                raise BadInput(f"{cause} → {effect} contradicts the graph, where that edge is missing or points back")
            directed[i, j], undirected[i, j], undirected[j, i] = True, False, False
            directed, undirected = meek.closure(directed, undirected, knowledge=True)
        return Graph.from_adjacency("MPDAG", directed | undirected, self.names)

    def reordered(self, names: Sequence[str]) -> "Graph":
        """The same graph with its variables in another order."""
        if sorted(names) != sorted(self.names):
            raise BadInput(f"{', '.join(names)} are not the variables of this graph; it has {', '.join(self.names)}")
        order = [self.names.index(name) for name in names]
        return Graph(self.kind, tuple(names), self.marks[np.ix_(order, order)])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        return self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    @cached_property
    def _content(self) -> tuple[GraphKind, frozenset[str], frozenset[frozenset[tuple[str, Mark]]]]:
        ends = (frozenset({(e.first, e.at_first), (e.second, e.at_second)}) for e in self.edges)
        return self.kind, frozenset(self.names), frozenset(ends)

    def __len__(self) -> int:
        return len(self.names)

    def __str__(self) -> str:
        alone = (name for name in self.names if not self.adjacent(name))
        return f"{self.kind}: " + ", ".join([*map(str, self.edges), *alone])


def no_marks(variables: int) -> Int8[ndarray, "d d"]:
    """The marks of a graph without edges. Raises `BadInput` for more than `MOST_VARIABLES`."""
    if variables > MOST_VARIABLES:
        raise BadInput(f"{variables:,} variables are too many for a graph, which has {MOST_VARIABLES:,} at most")
    return np.zeros((variables, variables), np.int8)
