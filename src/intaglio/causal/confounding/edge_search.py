"""Search by BIC over single edges of an ADMG, within its class and what is known."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from intaglio.causal.confounding.class_repair import AllowedGraphs, Edges
from intaglio.causal.confounding.ricf import DistrictScores

GAIN = 0.01
"""Least fall of BIC that a change of an edge must bring; its fits are less exact than smaller ones."""


def candidate_pairs(covariance: Float64[ndarray, "d d"], edges: Edges, most: int) -> list[tuple[int, int]]:
    """Pairs to look at: those with an edge, and of the others the most correlated given all other variables.

    Args:
        covariance: S, positive definite.
        edges: the edges of the graph that the search begins at.
        most: most pairs without an edge.
    """
    precision = np.linalg.inv(covariance)
    scale = np.sqrt(np.diagonal(precision))
    partial = np.abs(precision / np.outer(scale, scale))
    joined = edges.directed | edges.directed.T | edges.bidirected
    pairs = [(i, j) for j in range(len(covariance)) for i in range(j)]
    absent = sorted((pair for pair in pairs if not joined[pair]), key=lambda pair: -partial[pair])
    return [*(pair for pair in pairs if joined[pair]), *absent[:most]]


def improved(
    edges: Edges,
    scores: DistrictScores,
    allowed: AllowedGraphs,
    pairs: list[tuple[int, int]],
    sweeps: int,
    random: np.random.Generator,
    in_time: Callable[[], bool],
) -> Edges:
    """The graph after sweeps over pairs in random order, each of which takes the best by BIC of no edge, →, ← and ↔.

    Without sweeps each edge is looked at once, and goes where the BIC is better without it. Sweeps end where one brings
    nothing, or where the time is over; the BIC never rises.
    """
    scores.near(edges.directed, edges.bidirected)
    score = scores.bic(edges.directed, edges.bidirected)
    joined = edges.directed | edges.directed.T | edges.bidirected
    looked = pairs if sweeps else [pair for pair in pairs if joined[pair]]
    for _ in range(max(1, sweeps)):
        before = score
        for number in random.permutation(len(looked)).tolist():
            if not in_time():
                return edges
            pair = looked[number]
            for changed in _alternatives(edges, *pair, taking_out=not sweeps):
                if not allowed.holds(changed):
                    continue
                found = scores.changed(changed.directed, changed.bidirected, pair, score)
                if found < score - GAIN:
                    edges, score = changed, found
                    scores.near(edges.directed, edges.bidirected)
        if score >= before - GAIN:
            return edges
    return edges


def _alternatives(edges: Edges, i: int, j: int, taking_out: bool) -> Iterator[Edges]:
    yield edges.with_pair(i, j)
    if not taking_out:
        yield edges.with_pair(i, j, arrow=True)
        yield edges.with_pair(i, j, back=True)
        yield edges.with_pair(i, j, double=True)
