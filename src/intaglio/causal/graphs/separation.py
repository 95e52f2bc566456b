"""m-separation in DAGs and MAGs (d-separation in a DAG), and inducing paths."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int8
from numpy import ndarray

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
    """The first two variables that are not adjacent and joined by an inducing path; None in a maximal graph.

    On such a path every inner vertex is a collider and an ancestor of one of the two ends, so no set separates them
    (Richardson and Spirtes, Annals of Statistics 30, 2002).
    """
    directed = (marks == Mark.ARROW) & (marks.T == Mark.TAIL)
    above = descendants(directed) | np.eye(len(marks), dtype=bool)
    spouses = (marks == Mark.ARROW) & (marks.T == Mark.ARROW)
    for a, b in np.argwhere(np.triu(marks == 0, 1)):
        inside = above[:, a] | above[:, b]
        reached = np.zeros(len(marks), dtype=bool)
        frontier = (marks[a] == Mark.ARROW) & inside
        while (frontier & ~reached).any():
            reached |= frontier
            frontier = spouses[reached].any(0) & inside
        if (reached & (marks[b] == Mark.ARROW)).any():
            return int(a), int(b)
    return None
