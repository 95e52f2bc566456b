"""Mixed graphs of arrows and double arrows in batches: their m-separations path by path, and all small MAGs."""

from functools import lru_cache
from itertools import chain, combinations, pairwise, permutations, product

import numpy as np

ENDS = np.array([(0, 0), (3, 2), (2, 3), (2, 2)], np.int8)
"""(mark at the first, mark at the second) of no edge, →, ← and ↔; 2 is an arrow, 3 a tail."""


def subsets(items):
    items = list(items)
    return chain.from_iterable(combinations(items, size) for size in range(len(items) + 1))


def mixed(d: int, states: np.ndarray) -> np.ndarray:
    """Marks [g, d, d] from a state (an index into `ENDS`) for each graph and pair, [g, d (d - 1) / 2]."""
    marks = np.zeros((len(states), d, d), np.int8)
    for k, (a, b) in enumerate(combinations(range(d), 2)):
        marks[:, b, a], marks[:, a, b] = ENDS[states[:, k]].T
    return marks


def ancestors(marks: np.ndarray) -> np.ndarray:
    """[g, i, j]: i is j or an ancestor of j."""
    directed = (marks == 2) & (marks.swapaxes(1, 2) == 3)
    found = directed | np.eye(marks.shape[1], dtype=bool)
    for _ in range(marks.shape[1]):
        found |= (found[..., None] & found[:, None]).any(2)
    return found


def open_paths(marks: np.ndarray, a: int, b: int, sets: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """[g, s]: whether a path between two variables is open given each set, by the definition of m-separation."""
    d, above = marks.shape[1], ancestors(marks)
    given = np.array([[i in one for i in range(d)] for one in sets])
    holds = (above[:, None] & given[None, :, None]).any(3)  # [g, s, i]: i is an ancestor of the set
    found = np.zeros((len(marks), len(sets)), bool)
    for inner in chain.from_iterable(permutations([i for i in range(d) if i not in (a, b)], k) for k in range(d - 1)):
        route = (a, *inner, b)
        there = np.all([marks[:, x, y] != 0 for x, y in pairwise(route)], 0)
        if not there.any():
            continue
        is_open = np.ones((there.sum(), len(sets)), bool)
        for x, at, y in zip(route, route[1:], route[2:], strict=False):
            collider = (marks[there, x, at] == 2) & (marks[there, y, at] == 2)
            is_open &= np.where(collider[:, None], holds[there, :, at], ~given[:, at])
        found[there] |= is_open
    return found


def sets_without(d: int, a: int, b: int) -> tuple[tuple[int, ...], ...]:
    return tuple(subsets(i for i in range(d) if i not in (a, b)))


def separations(marks: np.ndarray) -> np.ndarray:
    """[g, s]: whether a pair is m-separated by a set, for every pair and set of the others, in a fixed order."""
    d = marks.shape[1]
    return ~np.concatenate([open_paths(marks, a, b, sets_without(d, a, b)) for a, b in combinations(range(d), 2)], 1)


def are_mags(marks: np.ndarray) -> np.ndarray:
    """[g]: no directed or almost directed cycle, and every pair without an edge is separated by some set."""
    d, above = marks.shape[1], ancestors(marks)
    double = (marks == 2) & (marks.swapaxes(1, 2) == 2)
    cyclic = (above & above.swapaxes(1, 2)).sum((1, 2)) > d
    ancestral = ~(double & above).any((1, 2)) & ~cyclic
    apart_by = separations(marks).reshape(len(marks), d * (d - 1) // 2, -1).any(2)
    edges = np.stack([marks[:, a, b] != 0 for a, b in combinations(range(d), 2)], 1)
    return ancestral & (edges | apart_by).all(1)


@lru_cache
def mags(d: int) -> np.ndarray:
    """Marks of every labelled MAG without undirected edges."""
    marks = mixed(d, np.array(list(product(range(4), repeat=d * (d - 1) // 2))))
    return marks[are_mags(marks)]


def shared(members: np.ndarray) -> np.ndarray:
    """The PAG by definition: the marks that all members of a class share, and circles (1) for the others."""
    return np.where((members == members[0]).all(0), members[0], np.int8(1))


def mags_with_skeleton_of(mag: np.ndarray) -> np.ndarray:
    """Every MAG with the adjacencies of one."""
    pairs = [range(1, 4) if mag[a, b] else [0] for a, b in combinations(range(len(mag)), 2)]
    marks = mixed(len(mag), np.array(list(product(*pairs))))
    return marks[are_mags(marks)]


def class_of(mag: np.ndarray) -> np.ndarray:
    """Every MAG with the m-separations of one."""
    alike = mags_with_skeleton_of(mag)
    return alike[(separations(alike) == separations(mag[None])).all(1)]


def random_mixed(random: np.random.Generator, d: int, share: float, doubles: float = 0.4) -> np.ndarray:
    """(directed, bidirected) of a random ADMG, bows included."""
    order = random.permutation(d)
    arrows = np.triu(random.random((d, d)) < share, 1)[np.ix_(order, order)]
    double = np.triu(random.random((d, d)) < share * doubles, 1)
    return np.stack([arrows, double | double.T])
