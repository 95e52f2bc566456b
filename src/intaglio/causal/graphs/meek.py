"""Meek's orientation rules and CPDAGs on boolean matrices, with any number of leading batch axes.

`directed[..., i, j]` is i → j and `undirected` is symmetric. The rules are those of C. Meek, "Causal inference and
causal explanation with background knowledge" (UAI 1995), written as products of matrices, so that thousands of graphs
are processed at once.
"""

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from intaglio.causal.graphs.paths import boolean_product

Arrows = Bool[ndarray, "*b d d"]


def transposed(matrix: Bool[ndarray, "*b d d"]) -> Bool[ndarray, "*b d d"]:
    """The transpose of each matrix of the batch."""
    return np.swapaxes(matrix, -1, -2)


def apart(skeleton: Bool[ndarray, "*b d d"]) -> Bool[ndarray, "*b d d"]:
    """Pairs of different variables that are not adjacent."""
    return ~skeleton & ~np.eye(skeleton.shape[-1], dtype=bool)


def rule_1(directed: Arrows, undirected: Arrows, away: Arrows) -> Arrows:
    """Rule 1: a → b — c with a and c not adjacent gives b → c; otherwise there would be a new collider."""
    return undirected & boolean_product(transposed(directed), away)


def rule_2(directed: Arrows, undirected: Arrows) -> Arrows:
    """Rule 2: a → b → c with a — c gives a → c; otherwise there would be a cycle."""
    return undirected & boolean_product(directed, directed)


def rule_3(directed: Arrows, undirected: Arrows, away: Arrows) -> Arrows:
    """Rule 3: a — d with a — b → d and a — c → d, b and c not adjacent, gives a → d."""
    found = np.zeros_like(undirected)
    for a in range(directed.shape[-1]):
        through = undirected[..., a, :, None] & directed
        found[..., a, :] = (through & boolean_product(away, through)).any(-2)
    return undirected & found


def rule_4(directed: Arrows, undirected: Arrows, away: Arrows) -> Arrows:
    """Rule 4: a — d with a — u → c → d, a adjacent to c, u and d not, gives a → d; needed with knowledge only."""
    found = np.zeros_like(undirected)
    adjacent = ~away & ~np.eye(directed.shape[-1], dtype=bool)
    for a in range(directed.shape[-1]):
        through = boolean_product(directed & adjacent[..., a, None, :], directed)
        found[..., a, :] = (undirected[..., a, :, None] & through & away).any(-2)
    return undirected & found


def closure(directed: Arrows, undirected: Arrows, *, knowledge: bool = False) -> tuple[Arrows, Arrows]:
    """The closure under Meek's rules, as (directed, undirected).

    An edge that the rules would orient both ways in one sweep stays undirected: no DAG agrees with such a graph.

    Args:
        directed: arrows.
        undirected: undirected edges, symmetric, disjoint from `directed`.
        knowledge: whether arrows come from more than colliders, so that rule 4 is needed too.
    """
    away = apart(directed | transposed(directed) | undirected)
    while True:
        new = rule_1(directed, undirected, away) | rule_2(directed, undirected)
        new &= ~transposed(new)
        if not new.any():
            new = rule_3(directed, undirected, away)
            if knowledge:
                new |= rule_4(directed, undirected, away)
            new &= ~transposed(new)
        if not new.any():
            return directed, undirected
        directed = directed | new
        undirected = undirected & ~new & ~transposed(new)


def collider_arrows(directed: Arrows) -> Arrows:
    """The arrows of a DAG or CPDAG that are part of an unshielded collider."""
    away = apart(directed | transposed(directed))
    return directed & boolean_product(away, directed)


def cpdag_of(dag: Arrows) -> tuple[Arrows, Arrows]:
    """The CPDAG of each DAG, as (directed, undirected): the closure of its unshielded colliders."""
    seed = collider_arrows(dag)
    return closure(seed, (dag | transposed(dag)) & ~seed & ~transposed(seed))


def extension(directed: Bool[ndarray, "d d"], undirected: Bool[ndarray, "d d"]) -> Bool[ndarray, "d d"] | None:
    """A DAG with the same adjacencies, arrows and unshielded colliders; None where there is none.

    D. Dor and M. Tarsi, "A simple algorithm to construct a consistent extension of a partially oriented graph"
    (1992): repeatedly, a sink whose undirected neighbours are adjacent to all its neighbours takes its undirected edges
    as arrows and is removed.
    """
    dag, d = directed.copy(), len(directed)
    left = np.ones(d, dtype=bool)
    adjacent = directed | directed.T | undirected
    while left.any():
        for i in np.flatnonzero(left):
            around, open_ends = adjacent[i] & left, undirected[i] & left
            if not (directed[i] & left).any() and _linked(adjacent, open_ends, around):
                dag[open_ends, i] = True
                left[i] = False
                break
        else:
            return None
    return dag


def _linked(adjacent: Bool[ndarray, "d d"], some: Bool[ndarray, "d"], around: Bool[ndarray, "d"]) -> bool:
    """Whether each of `some` is adjacent to all others of `around`."""
    block = adjacent[np.ix_(some, around)].copy()
    block |= np.flatnonzero(some)[:, None] == np.flatnonzero(around)
    return bool(block.all())
