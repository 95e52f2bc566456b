"""All small graphs, and brute-force answers to questions about them."""

from functools import lru_cache
from itertools import combinations, permutations, product

import numpy as np

from intaglio.causal.graphs.graph import Graph


@lru_cache
def dags(d: int) -> tuple[np.ndarray, ...]:
    """Every labelled DAG on d variables: each is a subset of a full order."""
    pairs = list(combinations(range(d), 2))
    found = set()
    for order in permutations(range(d)):
        for chosen in product((False, True), repeat=len(pairs)):
            matrix = np.zeros((d, d), bool)
            for (a, b), there in zip(pairs, chosen, strict=True):
                matrix[order[a], order[b]] = there
            found.add(matrix.tobytes())
    return tuple(np.frombuffer(key, bool).reshape(d, d) for key in sorted(found))


def colliders(dag: np.ndarray) -> frozenset:
    d = len(dag)
    return frozenset(
        (k, i, j)
        for k in range(d)
        for i, j in combinations(range(d), 2)
        if dag[i, k] and dag[j, k] and not dag[i, j] and not dag[j, i]
    )


def key(dag: np.ndarray) -> tuple:
    """Two DAGs are Markov equivalent where skeleton and unshielded colliders agree (Verma and Pearl, 1990)."""
    return (dag | dag.T).tobytes(), colliders(dag)


@lru_cache
def classes(d: int) -> dict[tuple, list[np.ndarray]]:
    found: dict[tuple, list[np.ndarray]] = {}
    for dag in dags(d):
        found.setdefault(key(dag), []).append(dag)
    return found


def union(members: list[np.ndarray]) -> np.ndarray:
    """The CPDAG by definition: an arrow where all members have it; both directions where they differ."""
    return np.logical_or.reduce(members)


def named(d: int) -> tuple[str, ...]:
    return tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:d])


def graph(kind: str, matrix: np.ndarray) -> Graph:
    return Graph.from_adjacency(kind, matrix, named(len(matrix)))


def random_dag(random: np.random.Generator, d: int, density: float) -> np.ndarray:
    order = random.permutation(d)
    upper = np.triu(random.random((d, d)) < density, 1)
    return upper[np.ix_(order, order)]


def simple_paths(marks: np.ndarray, a: int, b: int) -> list[tuple[int, ...]]:
    found, open_ = [], [(a,)]
    while open_:
        route = open_.pop()
        for j in np.flatnonzero(marks[route[-1]]):
            if j == b:
                found.append((*route, int(j)))
            elif j not in route:
                open_.append((*route, int(j)))
    return found


def separated(marks: np.ndarray, a: int, b: int, given: tuple[int, ...]) -> bool:
    """m-separation by its definition, path by path; 2 is an arrow, 3 a tail."""
    directed = (marks == 2) & (marks.T == 3)
    below = {i: {i} for i in range(len(marks))}
    for _ in range(len(marks)):
        for i, j in np.argwhere(directed):
            below[int(i)] |= below[int(j)]

    def is_open(route: tuple[int, ...]) -> bool:
        for before, at, after in zip(route, route[1:], route[2:], strict=False):
            collider = marks[before, at] == 2 and marks[after, at] == 2
            if collider and not below[at] & set(given):
                return False
            if not collider and at in given:
                return False
        return True

    return not any(is_open(route) for route in simple_paths(marks, a, b))


def independences(marks: np.ndarray) -> frozenset:
    d = len(marks)
    found = set()
    for a, b in combinations(range(d), 2):
        rest = [i for i in range(d) if i not in (a, b)]
        for size in range(len(rest) + 1):
            found |= {(a, b, given) for given in combinations(rest, size) if separated(marks, a, b, given)}
    return frozenset(found)
