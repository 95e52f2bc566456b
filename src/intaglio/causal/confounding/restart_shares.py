"""Shares of a search's restarts: how often, by weight, pairs are adjacent, and marks and colliders are as they are."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark

SHARED_MARKS = (Mark.ARROW, Mark.TAIL, Mark.CIRCLE)
"""Marks in the order of the last axis of `mark_shares`."""


def bic_weights(bics: Sequence[float]) -> Float64[ndarray, "r"]:
    """exp(-½ (BIC - the least BIC)) of each restart, divided by their sum."""
    weights = np.exp(-0.5 * (np.array(bics) - min(bics)))
    return weights / weights.sum()


def adjacency_shares(graphs: Sequence[Graph], weights: Float64[ndarray, "r"]) -> Float64[ndarray, "d d"]:
    """[i, j]: the weight of the graphs in which the two are adjacent, in [0, 1]."""
    return _share(np.stack([graph.skeleton for graph in graphs]), weights)


def mark_shares(graphs: Sequence[Graph], weights: Float64[ndarray, "r"]) -> Float64[ndarray, "d d 3"]:
    """[i, j]: of the graphs in which the two are adjacent, the weight of those with each mark at j.

    Pairs that are adjacent in none have a circle.
    """
    marks = np.stack([graph.marks for graph in graphs])
    shares = np.stack([_share(marks == mark, weights) for mark in SHARED_MARKS], -1)
    total = shares.sum(-1, keepdims=True)
    return np.where(total > 0, shares / np.where(total > 0, total, 1.0), np.array([0.0, 0.0, 1.0]))


def arrow_shares(graphs: Sequence[Graph], weights: Float64[ndarray, "r"]) -> Float64[ndarray, "d d 3"]:
    """[i, j]: of the classes of DAGs in which the two are adjacent, the weight of those with i → j, j → i and i — j.

    Pairs that are adjacent in none are undirected.
    """
    forward = _share(np.stack([graph.directed for graph in graphs]), weights)
    either = _share(np.stack([graph.undirected for graph in graphs]), weights)
    shares = np.stack([forward, forward.T, either], -1)
    total = shares.sum(-1, keepdims=True)
    return np.where(total > 0, shares / np.where(total > 0, total, 1.0), np.array([0.0, 0.0, 1.0]))


def collider_shares(
    graphs: Sequence[Graph], weights: Float64[ndarray, "r"], triples: Int64[ndarray, "t 3"]
) -> Float64[ndarray, "t"]:
    """The weight of the graphs in which each triple (centre, leg, leg) is an unshielded collider."""
    heads = np.stack([graph.marks == Mark.ARROW for graph in graphs])
    apart = np.stack([~graph.skeleton for graph in graphs])
    centre, one, two = triples.T
    return _share(heads[:, one, centre] & heads[:, two, centre] & apart[:, one, two], weights)


def unshielded_triples(graph: Graph) -> Int64[ndarray, "t 3"]:
    """(centre, leg, leg) of each two variables that are not adjacent and both adjacent to a third."""
    found = []
    for centre in range(len(graph)):
        around = np.flatnonzero(graph.skeleton[centre]).tolist()
        found += [(centre, i, j) for j in around for i in around if i < j and not graph.skeleton[i, j]]
    return np.array(found, np.int64).reshape(-1, 3)


def _share(there: ndarray, weights: Float64[ndarray, "r"]) -> ndarray:
    """The sum of the weights over the first axis, which rounding keeps in [0, 1]."""
    return np.clip(np.tensordot(weights, there.astype(float), 1), 0.0, 1.0)
