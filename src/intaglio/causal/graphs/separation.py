"""m-separation in DAGs and MAGs (d-separation in a DAG), and inducing paths."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int8
from numpy import ndarray

from intaglio.causal.graphs.bitsets import members, pack_rows
from intaglio.causal.graphs.marks import Mark
from intaglio.causal.graphs.paths import descendants


def separated(marks: Int8[ndarray, "d d"], first: int, second: int, given: Iterable[int] = ()) -> bool:
    """Whether two variables of a DAG or MAG are m-separated by `given`.

    The search is over walks, whose colliders must be in `given` and whose other vertices must not; an open walk exists
    exactly where an open path does, whose colliders are ancestors of `given`. Its states are (vertex, whether the walk
    arrived by an arrowhead), so its cost is the number of edges times the largest degree.
    """
    is_given = np.zeros(len(marks), dtype=bool)
    is_given[list(given)] = True
    seen: set[tuple[int, bool]] = set()
    frontier = [(int(j), marks[first, j] == Mark.ARROW) for j in np.flatnonzero(marks[first])]
    while frontier:
        state = frontier.pop()
        if state in seen:
            continue
        seen.add(state)
        at, headed = state
        if at == second:
            return False
        for onward in np.flatnonzero(marks[at]):
            collider = headed and marks[onward, at] == Mark.ARROW
            if collider == is_given[at]:
                frontier.append((int(onward), marks[at, onward] == Mark.ARROW))
    return True


def inducing_pair(marks: Int8[ndarray, "d d"]) -> tuple[int, int] | None:
    """The first two variables that are not adjacent and joined by an inducing path; None in a maximal graph."""
    directed = (marks == Mark.ARROW) & (marks.T == Mark.TAIL)
    spouses = (marks == Mark.ARROW) & (marks.T == Mark.ARROW)
    found = np.argwhere(np.triu(joined_by_inducing_paths(directed, spouses) & (marks == 0), 1))
    return (int(found[0, 0]), int(found[0, 1])) if len(found) else None


def joined_by_inducing_paths(directed: Bool[ndarray, "d d"], bidirected: Bool[ndarray, "d d"]) -> Bool[ndarray, "d d"]:
    """[i, j]: i and j are joined by an edge or an inducing path, so that no set separates them; symmetric.

    On an inducing path every inner vertex is a collider and an ancestor of one of the two ends (Richardson and Spirtes,
    Annals of Statistics 30, 2002).
    """
    d = len(directed)
    above = pack_rows(descendants(directed).T | np.eye(d, dtype=bool))
    spouses, heads = pack_rows(bidirected), pack_rows(directed | bidirected)
    joined = directed | directed.T | bidirected
    for a, b in np.argwhere(np.triu(~joined, 1)).tolist():
        inside = above[a] | above[b]
        reached = frontier = heads[a] & inside
        while frontier and not reached & heads[b]:
            following = 0
            for k in members(frontier):
                following |= spouses[k]
            frontier = following & inside & ~reached
            reached |= frontier
        joined[a, b] = joined[b, a] = bool(reached & heads[b])
    return joined
