"""Search by BIC over single edges of an ADMG, within its class and what is known."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from intaglio.causal.confounding.class_repair import AllowedGraphs, Edges
from intaglio.causal.confounding.ricf import DistrictScores

GAIN = 0.01
"""Difference of BIC below which two graphs count as equally good; fits are no more exact."""
PATIENCE = 2
"""Sweeps in a row without a gain after which the search ends."""


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
    costs: Float64[ndarray, "d d"],
) -> tuple[Edges, float]:
    """The graph after sweeps over pairs, each of which takes the best of no edge, →, ← and ↔; and its score.

    The score is the BIC plus the `costs` of adjacent pairs, a symmetric matrix.

    The order of the pairs is random. Where nothing is better, a change that is as good is taken: equivalent graphs have
    one score, and the next step down may begin at another of them. Without sweeps each edge is looked at once, and goes
    where the score is better without it. Sweeps end where `PATIENCE` of them in a row bring nothing, or where the
    time is over.
    """
    scores.near(edges.directed, edges.bidirected)
    score = scores.bic(edges.directed, edges.bidirected) + prior_of(edges, costs)
    joined = edges.directed | edges.directed.T | edges.bidirected
    looked, idle = (pairs if sweeps else [pair for pair in pairs if joined[pair]]), 0
    for _ in range(max(1, sweeps)):
        before = score
        for number in random.permutation(len(looked)).tolist():
            if not in_time():
                return edges, score
            made, found = _best_at(edges, looked[number], scores, allowed, score, costs, taking_out=not sweeps)
            if made is not None:
                edges = made
                scores.near(edges.directed, edges.bidirected)
                score = min(found, scores.bic(edges.directed, edges.bidirected) + prior_of(edges, costs))
        idle = idle + 1 if score >= before - GAIN else 0
        if idle == PATIENCE:
            break
    return edges, score


def _best_at(
    edges: Edges,
    pair: tuple[int, int],
    scores: DistrictScores,
    allowed: AllowedGraphs,
    score: float,
    costs: Float64[ndarray, "d d"],
    taking_out: bool,
) -> tuple[Edges | None, float]:
    """The best other graph that differs at one pair, if it is no worse, with its score; None if there is none."""
    best, least = None, score + (0 if taking_out else GAIN)
    for changed in _alternatives(edges, *pair, taking_out=taking_out):
        if changed.same_as(edges) or not allowed.holds(changed):
            continue
        prior = prior_of(changed, costs)
        found = scores.changed(changed.directed, changed.bidirected, pair, score - prior) + prior
        if found < least:
            best, least = changed, found
    return best, least


def prior_of(edges: Edges, costs: Float64[ndarray, "d d"]) -> float:
    """The sum of the costs of adjacent pairs."""
    joined = edges.directed | edges.directed.T | edges.bidirected
    return float(costs[joined].sum()) / 2


def _alternatives(edges: Edges, i: int, j: int, taking_out: bool) -> Iterator[Edges]:
    yield edges.with_pair(i, j)
    if not taking_out:
        yield edges.with_pair(i, j, arrow=True)
        yield edges.with_pair(i, j, back=True)
        yield edges.with_pair(i, j, double=True)
