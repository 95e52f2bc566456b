"""Reachability, causal order and cycles of directed graphs given as boolean adjacency matrices."""

import numpy as np
from jaxtyping import Bool
from numpy import ndarray


def boolean_product(first: Bool[ndarray, "*b m k"], second: Bool[ndarray, "*b k n"]) -> Bool[ndarray, "*b m n"]:
    """Boolean matrix product: whether there is a k with first[i, k] and second[k, j]."""
    # float32 goes through BLAS, booleans do not; counts below 2**24 are exact.
    return (first.astype(np.float32) @ second.astype(np.float32)) > 0.5


def descendants(directed: Bool[ndarray, "*b d d"]) -> Bool[ndarray, "*b d d"]:
    """[i, j]: whether there is a directed path of one arrow or more from i to j."""
    reached = directed.copy()
    for _ in range(max(1, directed.shape[-1]).bit_length()):
        reached |= boolean_product(reached, reached)
    return reached


def causal_order(directed: Bool[ndarray, "d d"]) -> list[int]:
    """A topological order, of several the smallest index first; shorter than d where there is a cycle."""
    waiting, left, order = directed.sum(0), set(range(len(directed))), []
    while ready := [i for i in sorted(left) if not waiting[i]]:
        order += ready[:1]
        left.discard(ready[0])
        waiting = waiting - directed[ready[0]]
    return order


def cycle(directed: Bool[ndarray, "d d"]) -> list[int]:
    """The indices along one shortest directed cycle, in order; empty where there is none."""
    reached = descendants(directed)
    found = [route for i in np.flatnonzero(reached.diagonal()) if (route := path(directed, int(i), int(i)))]
    return min(found, key=len)[:-1] if found else []


def path(directed: Bool[ndarray, "d d"], start: int, goal: int) -> list[int]:
    """The indices along one shortest directed path of one arrow or more, both ends included; empty if there is none."""
    previous: dict[int, int] = {}
    frontier = [start]
    while frontier and goal not in previous:
        following = []
        for i in frontier:
            fresh = [int(j) for j in np.flatnonzero(directed[i]) if int(j) not in previous]
            previous.update(dict.fromkeys(fresh, i))
            following += fresh
        frontier = following
    if goal not in previous:
        return []
    route = [goal, previous[goal]]
    while route[-1] != start:
        route.append(previous[route[-1]])
    return route[::-1]
