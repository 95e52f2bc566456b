"""From the parameters of a search to a graph of its class that agrees with background knowledge."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from intaglio.causal.graphs.admg import ADMG, ADMGClass
from intaglio.causal.graphs.knowledge import Constraints
from intaglio.causal.graphs.paths import cycle, descendants, path

Booleans = Bool[ndarray, "d d"]
Sizes = Float64[ndarray, "d d"]


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges of an ADMG as matrices: `directed` [i, j] is i → j, `bidirected` is symmetric."""

    directed: Booleans
    bidirected: Booleans

    def same_as(self, other: "Edges") -> bool:
        """Whether all edges are the same."""
        return np.array_equal(self.directed, other.directed) and np.array_equal(self.bidirected, other.bidirected)

    def with_pair(self, i: int, j: int, arrow: bool = False, back: bool = False, double: bool = False) -> "Edges":
        """These edges, but with i → j, j → i and i ↔ j, or none of them, between two variables."""
        directed, bidirected = self.directed.copy(), self.bidirected.copy()
        directed[i, j], directed[j, i] = arrow, back
        bidirected[i, j] = bidirected[j, i] = double
        return Edges(directed, bidirected)


@dataclass(frozen=True, eq=False)
class AllowedGraphs:
    """The graphs that a search may end with: of a class, with MAGs that agree with background knowledge."""

    names: tuple[str, ...]
    kind: ADMGClass
    known: Constraints
    doubles: bool = True
    """Whether there may be double arrows; without them the graphs are DAGs."""

    def of_class(self, edges: Edges) -> bool:
        """Whether a graph has no cycle and is of the class."""
        if not self.doubles and edges.bidirected.any():
            return False
        if self.kind == "ancestral":
            below = descendants(edges.directed)
            return not (below.diagonal().any() or (below & edges.bidirected).any())
        return not cycle(edges.directed) and self.graph(edges).belongs_to(self.kind)

    def holds(self, edges: Edges) -> bool:
        """Whether a graph is one of them."""
        return self.of_class(edges) and (not self.bound or self._agrees(self.graph(edges)))

    def graph(self, edges: Edges) -> ADMG:
        """The edges under the names of the variables; `BadInput` for a cycle."""
        return ADMG(self.names, edges.directed, edges.bidirected)

    @property
    def bound(self) -> bool:
        """Whether anything is known beforehand."""
        known = self.known
        return bool((known.required | known.forbidden | known.adjacent | known.apart).any())

    def _agrees(self, graph: ADMG) -> bool:
        """Whether the MAG of a graph has what is required and adjacent, and nothing that is forbidden or apart."""
        mag = graph.mag()
        lacking = (self.known.required & ~mag.directed) | (self.known.adjacent & ~mag.skeleton)
        extra = (self.known.forbidden & mag.directed) | (self.known.apart & mag.skeleton)
        return not (lacking | extra).any()


def thresholded(arrows: Sizes, doubles: Sizes, threshold: float, known: Constraints) -> Edges:
    """The parameters above a threshold as edges, with certain arrows and one edge at least for adjacent pairs."""
    directed = (np.abs(arrows) > threshold) & ~known.forbidden | known.required
    bidirected = (np.abs(doubles) > threshold) & ~known.apart & ~known.required & ~known.required.T
    edges = Edges(directed, bidirected)
    for i, j in np.argwhere(np.triu(known.adjacent & ~(directed | directed.T | bidirected))).tolist():
        sizes = {
            "arrow": -1.0 if known.forbidden[i, j] else abs(arrows[i, j]),
            "back": -1.0 if known.forbidden[j, i] else abs(arrows[j, i]),
            "double": abs(doubles[i, j]),
        }
        edges = edges.with_pair(i, j, **{max(sizes, key=lambda name: sizes[name]): True})
    return edges


def repaired(edges: Edges, arrows: Sizes, doubles: Sizes, allowed: AllowedGraphs) -> Edges:
    """A graph of the class within these edges, without the weakest ones that stand against it.

    Arrows on cycles go first, the weakest of each. In an ancestral graph, of each almost directed cycle either the
    double arrow or the weakest arrow of its path goes, whichever is smaller; elsewhere a bow keeps its larger
    parameter, and a converging arborescence loses its first double arrow. Certain arrows stay.
    """
    directed, bidirected = edges.directed.copy(), edges.bidirected.copy()
    size = np.where(allowed.known.required, np.inf, np.abs(arrows))
    while found := cycle(directed):
        _drop_weakest(directed, size, [*found, found[0]])
    while (hit := _against_class(directed, bidirected, allowed)) is not None:
        i, j, route = hit
        weakest = min((size[step] for step in pairwise(route)), default=np.inf)
        if abs(doubles[i, j]) <= weakest:
            bidirected[i, j] = bidirected[j, i] = False
        else:
            _drop_weakest(directed, size, route)
    return Edges(directed, bidirected)


def _drop_weakest(directed: Booleans, size: Sizes, route: list[int]) -> None:
    directed[min(pairwise(route), key=lambda step: size[step])] = False


def _against_class(
    directed: Booleans, bidirected: Booleans, allowed: AllowedGraphs
) -> tuple[int, int, list[int]] | None:
    """A double arrow that stands against the class, with the directed path between its ends, where that may go too."""
    graph = ADMG(allowed.names, directed, bidirected)
    if graph.belongs_to(allowed.kind):
        return None
    if allowed.kind == "ancestral":
        i, j = np.argwhere(graph.ancestors & bidirected)[0].tolist()
        return i, j, path(directed, i, j)
    if (bows := np.argwhere(directed & bidirected)).size:
        i, j = bows[0].tolist()
        return i, j, [i, j]
    inside = next(found for k in range(len(directed)) if len(found := graph.arborescence(k)) > 1)
    pairs = [(i, j) for i in inside for j in inside if i < j and bidirected[i, j]]
    return *pairs[0], []


def in_agreement(edges: Edges, allowed: AllowedGraphs) -> Edges | None:
    """A graph of the class whose MAG agrees with what is known, or None where none was found.

    Adjacent pairs without an edge get one. Edges that are not known, the double arrows first, are then taken out one by
    one until the MAG agrees: an edge can disagree by the inducing paths that it lies on.
    """
    known = allowed.known
    joined = edges.directed | edges.directed.T | edges.bidirected
    for i, j in np.argwhere(np.triu(known.adjacent & ~joined)).tolist():
        ways = [edges.with_pair(i, j, arrow=True), edges.with_pair(i, j, back=True), edges.with_pair(i, j, double=True)]
        open_ways = [not known.forbidden[i, j], not known.forbidden[j, i], True]
        fit = (way for way, is_open in zip(ways, open_ways, strict=True) if is_open and allowed.of_class(way))
        edges = next(fit, edges)
    loose = [*np.argwhere(np.triu(edges.bidirected & ~known.adjacent)).tolist()]
    loose += np.argwhere(edges.directed & ~known.adjacent).tolist()
    for i, j in loose:
        if allowed.holds(edges):
            return edges
        edges = edges.with_pair(i, j)
    return edges if allowed.holds(edges) else None
