"""Orientation rules and CPDAGs on boolean matrices, with any number of leading batch axes.

`directed[..., i, j]` is i → j and `undirected` is symmetric. The rules are those of C. Meek, "Causal inference and
causal explanation with background knowledge" (UAI 1995), written as products of matrices so that thousands of graphs
are completed at once.
"""

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from intaglio.causal.graphs.paths import boolean_product

Arrows = Bool[ndarray, "*b d d"]


def transposed(matrix: Bool[ndarray, "*b d d"]) -> Bool[ndarray, "*b d d"]:
    """Each matrix of the batch, its rows and columns exchanged."""
    return np.swapaxes(matrix, -1, -2)


def apart(skeleton: Bool[ndarray, "*b d d"]) -> Bool[ndarray, "*b d d"]:
    """Pairs of different variables that are not adjacent."""
    return ~skeleton & ~np.eye(skeleton.shape[-1], dtype=bool)


def rule_1(directed: Arrows, undirected: Arrows, away: Arrows) -> Arrows:
    """A → b — c with a and c apart gives b → c: else a new collider."""
    return undirected & boolean_product(transposed(directed), away)


def rule_2(directed: Arrows, undirected: Arrows) -> Arrows:
    """A → b → c with a — c gives a → c: else a cycle."""
    return undirected & boolean_product(directed, directed)


def rule_3(directed: Arrows, undirected: Arrows, away: Arrows) -> Arrows:
    """A — d with a — b → d and a — c → d, b and c apart, gives a → d."""
    found = np.zeros_like(undirected)
    for a in range(directed.shape[-1]):
        through = undirected[..., a, :, None] & directed
        found[..., a, :] = (through & boolean_product(away, through)).any(-2)
    return undirected & found


def rule_4(directed: Arrows, undirected: Arrows, away: Arrows) -> Arrows:
    """A — d with a — u → c → d, a adjacent to c, u and d apart, gives a → d; acts only where knowledge was added."""
    found = np.zeros_like(undirected)
    adjacent = ~away & ~np.eye(directed.shape[-1], dtype=bool)
    for a in range(directed.shape[-1]):
        through = boolean_product(directed & adjacent[..., a, None, :], directed)
        found[..., a, :] = (undirected[..., a, :, None] & through & away).any(-2)
    return undirected & found


def closure(directed: Arrows, undirected: Arrows, *, knowledge: bool = False) -> tuple[Arrows, Arrows]:
    """All that the rules orient, until they orient nothing more: the new (directed, undirected).

    An edge that the rules would orient both ways in one sweep stays as it is: no DAG agrees with such a graph.

    Args:
        directed: arrows.
        undirected: symmetric, apart from `directed`.
        knowledge: the arrows hold more than colliders, so rule 4 is needed too.
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
    """The arrows of a DAG or CPDAG that take part in an unshielded collider."""
    away = apart(directed | transposed(directed))
    return directed & boolean_product(away, directed)


def cpdag_of(dag: Arrows) -> tuple[Arrows, Arrows]:
    """The CPDAG of each DAG, as (directed, undirected): its unshielded colliders and what the rules make of them."""
    seed = collider_arrows(dag)
    return closure(seed, (dag | transposed(dag)) & ~seed & ~transposed(seed))


def extension(directed: Bool[ndarray, "d d"], undirected: Bool[ndarray, "d d"]) -> Bool[ndarray, "d d"] | None:
    """A DAG with the same adjacencies, arrows and unshielded colliders; None where there is none.

    D. Dor and M. Tarsi, "A simple algorithm to construct a consistent extension of a partially oriented graph"
    (1992): a sink whose undirected neighbours are adjacent to all its neighbours takes its edges in and goes.
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
    """Is each of `some` adjacent to all the others `around`."""
    block = adjacent[np.ix_(some, around)].copy()
    block |= np.flatnonzero(some)[:, None] == np.flatnonzero(around)
    return bool(block.all())
