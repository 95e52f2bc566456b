"""Orientation of a skeleton by invariance, colliders, knowledge and Meek's rules, with the reason of each arrow."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from intaglio.causal.graphs import meek
from intaglio.causal.graphs.knowledge import Constraints
from intaglio.causal.graphs.paths import descendants
from intaglio.causal.methods.cd_nod.skeleton import Skeleton
from intaglio.causal.results.changes import EdgeRule

Arrow = tuple[int, int]
"""(tail, head)."""
Triple = tuple[int, int, int]
"""(centre, leg, leg) of an unshielded triple."""


@dataclass(frozen=True, eq=False)
class PartialDag:
    """A partially directed graph over d variables and, last, the context, with the rule behind each arrow."""

    directed: Bool[ndarray, "v v"]
    undirected: Bool[ndarray, "v v"]
    reasons: dict[Arrow, EdgeRule]
    conflicts: int = 0
    """Colliders and arrows that the tests spoke for and that were left out, as they contradicted others."""
    fallback: bool = False
    """Whether no DAG had exactly the accepted colliders, so that the nearest one was taken."""

    def closed(self) -> "PartialDag":
        """The closure under Meek's four rules."""
        directed, undirected = meek.closure(self.directed, self.undirected, knowledge=True)
        fresh: list[Arrow] = [(int(i), int(j)) for i, j in np.argwhere(directed & ~self.directed)]
        reasons = self.reasons | dict.fromkeys(fresh, "Meek")
        return replace(self, directed=directed, undirected=undirected, reasons=reasons)

    def with_arrows(self, arrows: Iterable[Arrow], rule: EdgeRule) -> "PartialDag":
        """The same graph with undirected edges made arrows; others are left as they are."""
        directed, undirected, reasons = self.directed.copy(), self.undirected.copy(), dict(self.reasons)
        for tail, head in arrows:
            if undirected[tail, head]:
                directed[tail, head], undirected[tail, head], undirected[head, tail] = True, False, False
                reasons[tail, head] = rule
        return replace(self, directed=directed, undirected=undirected, reasons=reasons)

    def consistent(self) -> bool:
        """Whether a DAG has the same adjacencies, all the arrows, and no other unshielded collider."""
        return not cyclic(self.directed) and meek.extension(self.directed, self.undirected) is not None


def cyclic(directed: Bool[ndarray, "d d"]) -> bool:
    """Whether there is a directed cycle."""
    return bool(descendants(directed).diagonal().any())


def orient(skeleton: Skeleton, constraints: Constraints) -> PartialDag:
    """The orientation that invariance, colliders and knowledge give.

    In order of trust: arrows from the context and of knowledge; edges between a changing and an unchanging variable;
    other colliders, those of the largest separating p-value first. What would reverse an arrow or close a cycle is left
    out and counted.
    """
    graph = _known(skeleton, constraints)
    for triple in _triples(skeleton):
        graph = _with_triple(graph, triple, skeleton)
    closed = graph.closed()
    return closed if closed.consistent() else nearest(graph)


def _known(skeleton: Skeleton, constraints: Constraints) -> PartialDag:
    """The skeleton with the arrows from the context, and those that follow from knowledge."""
    context, adjacent = len(skeleton.adjacent) - 1, skeleton.adjacent
    graph = PartialDag(np.zeros_like(adjacent), adjacent.copy(), {})
    wanted = [(int(i), int(j)) for i, j in np.argwhere(constraints.oriented(adjacent) & adjacent)]
    for arrow in sorted(wanted, key=lambda arrow: not constraints.required[arrow]):
        trial = graph.with_arrows([arrow], "context" if arrow[0] == context else "knowledge")
        if not cyclic(trial.directed):
            graph = trial
            continue
        # All directions of the pair but one are forbidden, and that one closes a cycle: no graph can have the edge.
        undirected = graph.undirected.copy()
        undirected[arrow] = undirected[arrow[::-1]] = False
        graph = replace(graph, undirected=undirected, conflicts=graph.conflicts + 1)
    return graph


def _triples(skeleton: Skeleton) -> list[Triple]:
    """Unshielded triples whose legs were separated: those with the context, then by falling p-value."""
    context, adjacent = len(skeleton.adjacent) - 1, skeleton.adjacent
    found = []
    for centre in range(context):
        legs = np.flatnonzero(adjacent[centre]).tolist()
        found += [
            (centre, i, j) for i in legs for j in legs if i < j and not adjacent[i, j] and (i, j) in skeleton.separating
        ]
    return sorted(found, key=lambda one: (one[2] != context, -skeleton.p[one[1], one[2]], one))


def _with_triple(graph: PartialDag, triple: Triple, skeleton: Skeleton) -> PartialDag:
    """The graph with what one triple says: a collider, or from the context on, its opposite."""
    centre, first, second = triple
    by_context = second == len(skeleton.adjacent) - 1
    rule: EdgeRule = "invariance" if by_context else "collider"
    if centre not in skeleton.separating[first, second]:
        arrows = [(first, centre), (second, centre)]
    elif by_context:
        arrows = [(centre, first)]
    else:
        return graph
    trial = graph.with_arrows(arrows, rule)
    if all(trial.directed[arrow] for arrow in arrows) and not cyclic(trial.directed):
        return trial
    return replace(graph, conflicts=graph.conflicts + 1)


def nearest(graph: PartialDag) -> PartialDag:
    """The class of a DAG that has all the arrows and as few further colliders as a greedy search finds.

    For graphs that no DAG extends, as tests err: sinks are taken away one after another, the one that makes fewest new
    colliders first, and the DAG's class with the same context and knowledge is the result.
    """
    dag = _with_fewest_colliders(graph)
    kept = {arrow for arrow, rule in graph.reasons.items() if rule in ("context", "knowledge")}
    seed = meek.collider_arrows(dag)
    for arrow in kept:
        seed[arrow] = True
    start = PartialDag(
        seed,
        (dag | dag.T) & ~seed & ~seed.T,
        {(int(i), int(j)): graph.reasons.get((int(i), int(j)), "nearest DAG") for i, j in np.argwhere(seed)},
        graph.conflicts,
        True,
    )
    return start.closed()


def _with_fewest_colliders(graph: PartialDag) -> Bool[ndarray, "v v"]:
    dag, undirected = graph.directed.copy(), graph.undirected
    adjacent = dag | dag.T | undirected
    left = np.ones(len(dag), dtype=bool)
    while left.any():
        # The arrows have no cycle, so that among those left there is always one without a child.
        sinks = [int(k) for k in np.flatnonzero(left) if not (graph.directed[k] & left).any()]
        sink = min(sinks, key=lambda k: (new_colliders(adjacent, undirected[k] & left, adjacent[k] & left), k))
        dag[undirected[sink] & left, sink] = True
        left[sink] = False
    return dag


def new_colliders(adjacent: Bool[ndarray, "d d"], tails: Bool[ndarray, "d"], around: Bool[ndarray, "d"]) -> int:
    """Pairs of a new tail and another neighbour that are not adjacent."""
    block = ~adjacent[np.ix_(tails, around)]
    block &= np.flatnonzero(tails)[:, None] != np.flatnonzero(around)
    return int(block.sum())
