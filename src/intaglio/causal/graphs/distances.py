"""Distances of an estimated from a true graph: SHD, precision and recall of skeleton, arrows, colliders and marks."""

from collections.abc import Hashable, Set
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from intaglio.causal.graphs.admg import pag_over
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark
from intaglio.errors import BadInput


@dataclass(frozen=True)
class Overlap:
    """Sizes of the intersection of two sets, of the estimated and of the true one."""

    shared: int
    found: int
    true: int

    @classmethod
    def of(cls, truth: Set[Hashable], estimate: Set[Hashable]) -> "Overlap":
        """Counts the members of two sets."""
        return cls(len(truth & estimate), len(estimate), len(truth))

    @property
    def defined(self) -> bool:
        """False where both sets are empty."""
        return bool(self.found or self.true)

    @property
    def precision(self) -> float:
        """Share of the estimated members that are true; without estimated ones, 1 if none is true and else 0."""
        return self.shared / self.found if self.found else float(not self.true)

    @property
    def recall(self) -> float:
        """Share of the true members that are estimated; without true ones, 1 if none is estimated and else 0."""
        return self.shared / self.true if self.true else float(not self.found)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where both sets are empty."""
        return 2 * self.shared / (self.found + self.true) if self.defined else 1.0

    @property
    def f1_or_zero(self) -> float:
        """F1 with 0 where both sets are empty, as SiCL (arXiv 2502.10883) counts it."""
        return self.f1 if self.defined else 0.0


@dataclass(frozen=True)
class Comparison:
    """An estimated CPDAG compared with the true one; DAGs are mapped to their CPDAG first."""

    shd: int
    """Structural Hamming distance: unordered pairs whose relation (none, →, ←, —) differs."""
    skeleton: Overlap
    """Adjacent unordered pairs."""
    skeleton_accuracy: float
    """Share of the d (d - 1) / 2 unordered pairs on whose adjacency the two agree; 1 for one variable."""
    orientation: Overlap
    """Directed edges."""
    colliders: Overlap
    """Unshielded colliders (centre and two legs)."""
    collider_arrows: Overlap
    """Directed edges that are part of an unshielded collider."""

    def figures(self) -> dict[str, float | int]:
        """The main figures by name."""
        return {
            "shd": self.shd,
            "skeleton_f1": self.skeleton.f1,
            "orientation_f1": self.orientation.f1,
            "collider_f1": self.colliders.f1,
        }


@dataclass(frozen=True)
class PagComparison:
    """An estimated PAG compared with the true one, by the figures of SPOT (arXiv 2406.10537)."""

    shd: int
    """Unordered pairs whose edge, with both marks, or its absence differs."""
    shd_marks: int
    """Marks that differ, over both ends of all unordered pairs; no edge counts as a mark of its own."""
    skeleton: Overlap
    """Adjacent unordered pairs."""
    edges: Overlap
    """Edges with both marks; the F1 of PAGs."""
    arrowheads: Overlap
    """Ends of edges with an arrow."""
    tails: Overlap
    """Ends of edges with a tail."""

    def figures(self) -> dict[str, float | int]:
        """The main figures by name; F1 is 0 where there is nothing to find and nothing found, as published."""
        return {
            "shd": self.shd,
            "shd_marks": self.shd_marks,
            "skeleton_f1": self.skeleton.f1_or_zero,
            "pag_f1": self.edges.f1_or_zero,
            "arrowhead_f1": self.arrowheads.f1_or_zero,
            "tail_f1": self.tails.f1_or_zero,
        }


def compare(truth: Graph, estimate: Graph) -> Comparison:
    """The metrics of SiCL's protocol (arXiv 2502.10883) for DAGs, CPDAGs and MPDAGs; an MPDAG is compared as it is.

    Raises:
        BadInput: graphs over different variables, or a MAG or PAG.
    """
    if {"MAG", "PAG"} & {truth.kind, estimate.kind}:
        raise BadInput("a MAG or PAG has other marks than a CPDAG; use compare_pags")
    truth, estimate = (graph.cpdag() if graph.kind == "DAG" else graph for graph in (truth, estimate))
    estimate = estimate.reordered(truth.names) if _same(truth, estimate) else estimate
    pairs = len(truth) * (len(truth) - 1) // 2
    wrong = int(np.triu(truth.skeleton != estimate.skeleton).sum())
    return Comparison(
        shd=shd(truth, estimate),
        skeleton=skeleton_overlap(truth, estimate),
        skeleton_accuracy=1 - wrong / pairs if pairs else 1.0,
        orientation=orientation_overlap(truth, estimate),
        colliders=Overlap.of(truth.colliders, estimate.colliders),
        collider_arrows=Overlap.of(_collider_arrows(truth), _collider_arrows(estimate)),
    )


def compare_pags(truth: Graph, estimate: Graph) -> PagComparison:
    """The figures of a PAG against the true graph: a PAG, a MAG or a DAG, whose further variables are hidden.

    Raises:
        BadInput: variables of the estimate that the truth lacks, or a CPDAG or MPDAG, which has no one PAG.
    """
    truth, estimate = (pag_over(graph, estimate.names) for graph in (truth, estimate))
    return PagComparison(
        shd=shd(truth, estimate),
        shd_marks=shd_marks(truth, estimate),
        skeleton=skeleton_overlap(truth, estimate),
        edges=edge_overlap(truth, estimate),
        arrowheads=mark_overlap(truth, estimate, Mark.ARROW),
        tails=mark_overlap(truth, estimate, Mark.TAIL),
    )


def shd(truth: Graph, estimate: Graph) -> int:
    """Structural Hamming distance: unordered pairs whose edge or absence differs, each counted once.

    A reversed arrow counts 1, and so does a directed edge against an undirected one and, in MAGs and PAGs, any other
    mark. Raises `BadInput` where one graph is a DAG and the other a class: use `compare`.
    """
    if (truth.kind == "DAG") != (estimate.kind == "DAG"):
        raise BadInput(f"a {truth.kind} and a {estimate.kind} have no common distance; map the DAG to its class first")
    return int(np.triu(_differing(truth, estimate) | _differing(truth, estimate).T).sum())


def shd_marks(truth: Graph, estimate: Graph) -> int:
    """Number of differing marks, over both ends of all unordered pairs; no edge counts as a mark of its own."""
    return int(_differing(truth, estimate).sum())


def skeleton_overlap(truth: Graph, estimate: Graph) -> Overlap:
    """Adjacent unordered pairs."""
    _same(truth, estimate)
    return Overlap.of(_pairs(truth), _pairs(estimate))


def orientation_overlap(truth: Graph, estimate: Graph) -> Overlap:
    """Directed edges, by cause and effect."""
    _same(truth, estimate)
    return Overlap.of(_arrows(truth), _arrows(estimate))


def edge_overlap(truth: Graph, estimate: Graph) -> Overlap:
    """Edges with both marks, as in the F1 of PAGs by SPOT (arXiv 2406.10537)."""
    _same(truth, estimate)
    return Overlap.of(_marked(truth), _marked(estimate))


def mark_overlap(truth: Graph, estimate: Graph, mark: Mark) -> Overlap:
    """Edge ends with one mark, as (variable at the other end, variable at this end)."""
    _same(truth, estimate)
    return Overlap.of(_ends(truth, mark), _ends(estimate, mark))


def _differing(truth: Graph, estimate: Graph) -> Bool[ndarray, "d d"]:
    _same(truth, estimate)
    return truth.marks != estimate.reordered(truth.names).marks


def _same(truth: Graph, estimate: Graph) -> bool:
    if missing := sorted(set(truth.names) ^ set(estimate.names)):
        raise BadInput(f"only one of the two graphs has {', '.join(missing)}; compare graphs over the same variables")
    return True


def _pairs(graph: Graph) -> set[frozenset[str]]:
    return {frozenset({e.first, e.second}) for e in graph.edges}


def _marked(graph: Graph) -> set[frozenset[tuple[str, Mark]]]:
    return {frozenset({(e.first, e.at_first), (e.second, e.at_second)}) for e in graph.edges}


def _arrows(graph: Graph) -> set[tuple[str, str]]:
    return {(graph.names[i], graph.names[j]) for i, j in np.argwhere(graph.directed)}


def _ends(graph: Graph, mark: Mark) -> set[tuple[str, str]]:
    return {(graph.names[i], graph.names[j]) for i, j in np.argwhere(graph.marks == mark)}


def _collider_arrows(graph: Graph) -> set[tuple[str, str]]:
    return {(leg, centre) for centre, legs in graph.colliders for leg in legs}
