"""Families of random DAGs, drawn in batches: `[k, i, j]` is i → j in graph k, with i < j, so in causal order.

Callers hide the order by a permutation. Families and ranges are those of AVICI (arXiv 2205.12934) and SiCL (arXiv
2502.10883), with sparse, tree-like and empty graphs added.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.causal.graphs.paths import causal_order
from intaglio.errors import BadInput

DAGs = Bool[ndarray, "b d d"]
MAX_PARENTS = 10
"""Default of the most parents of a variable."""


def erdos_renyi(rng: np.random.Generator, count: int, variables: int, edges: Sequence[float] = (1.0, 2.0, 3.0)) -> DAGs:
    """Erdős–Rényi: all pairs are equally probable, with `edges` (drawn per graph) expected edges per variable."""
    wanted = rng.choice(np.asarray(edges, np.float64), count)
    p = np.minimum(0.99, 2 * wanted / max(1, variables - 1))
    return np.triu(rng.random((count, variables, variables)) < p[:, None, None], 1)


def sparse(rng: np.random.Generator, count: int, variables: int) -> DAGs:
    """Erdős–Rényi with half an expected edge per variable."""
    return erdos_renyi(rng, count, variables, (0.5,))


def scale_free(
    rng: np.random.Generator,
    count: int,
    variables: int,
    edges: Sequence[int] = (1, 2, 3),
    powers: Sequence[float] = (1.0,),
) -> DAGs:
    """Preferential attachment: a new variable takes m older ones as children, in proportion to (in-degree + 1)^power.

    Few variables get many causes. m (of `edges`) and the power are drawn per graph. The m largest of log-weights plus
    Gumbel noise are a draw without replacement.
    """
    return _preferential_attachment(rng, count, variables, edges, powers)[:, ::-1, ::-1]


def scale_free_transposed(
    rng: np.random.Generator,
    count: int,
    variables: int,
    edges: Sequence[int] = (1, 2, 3),
    powers: Sequence[float] = (1.0,),
) -> DAGs:
    """`scale_free` with its arrows reversed: few variables have many effects."""
    return np.swapaxes(_preferential_attachment(rng, count, variables, edges, powers), 1, 2)


def _preferential_attachment(
    rng: np.random.Generator, count: int, variables: int, edges: Sequence[int], powers: Sequence[float]
) -> DAGs:
    """Adjacency [k, new, old], with variables in the order in which they were added."""
    m, power = rng.choice(np.asarray(edges), count), rng.choice(np.asarray(powers, np.float64), count)
    made = np.zeros((count, variables, variables), bool)
    taken = np.ones((count, variables))
    everyone = np.arange(count)[:, None]
    for new in range(1, variables):
        score = power[:, None] * np.log(taken[:, :new]) + rng.gumbel(size=(count, new))
        best = np.argsort(-score, axis=1)[:, : m.max()]
        made[everyone, new, best] = np.arange(best.shape[1]) < m[:, None]
        taken += made[:, new]
    return made


def watts_strogatz(
    rng: np.random.Generator,
    count: int,
    variables: int,
    *,
    dimensions: Sequence[int] = (2, 3),
    reaches: Sequence[int] = (1, 2),
    rewired: tuple[float, float] = (0.2, 0.4),
    by_index: bool = False,
) -> DAGs:
    """Watts-Strogatz: a periodic lattice with rewired edges, surplus variables removed, oriented by a random order.

    Args:
        rng: source of all randomness.
        count: number of graphs.
        variables: variables of each graph; the lattice has the shortest side that holds them.
        dimensions: dimensions of the lattice, drawn per graph.
        reaches: lattice distances up to which variables are adjacent, drawn per graph.
        rewired: range of the share of rewired edges, drawn per graph; an end that would hit a neighbour stays.
        by_index: orient edges by the index on the lattice, as AVICI does.
    """
    kinds = rng.integers(len(dimensions) * len(reaches), size=count)
    made = np.zeros((count, variables, variables), bool)
    for kind, (dimension, reach) in enumerate(product(dimensions, reaches)):
        if (chosen := np.flatnonzero(kinds == kind)).size:
            pairs = _lattice(variables, dimension, reach)
            whole = _rewired(rng, pairs, rng.uniform(*rewired, len(chosen)))
            order = np.argsort(rng.random((len(chosen), whole.shape[1])), axis=1)[:, :variables]
            order = np.sort(order, axis=1) if by_index else order
            made[chosen] = whole[np.arange(len(chosen))[:, None, None], order[:, :, None], order[:, None, :]]
    return np.triu(made, 1)


def _lattice(variables: int, dimension: int, reach: int) -> Bool[ndarray, "m m"]:
    side = 1
    while side**dimension < variables:
        side += 1
    points = np.array(list(product(range(side), repeat=dimension))).reshape(-1, dimension)
    difference = np.abs(points[:, None] - points)
    steps = np.minimum(difference, side - difference).sum(-1)
    return (steps > 0) & (steps <= reach)


def _rewired(
    rng: np.random.Generator, joined: Bool[ndarray, "m m"], share: Float[ndarray, "b"]
) -> Bool[ndarray, "b m m"]:
    """Rewires each edge in turn, in all graphs at once: its second end moves to a random variable."""
    b, m = len(share), len(joined)
    made, everyone = np.repeat(joined[None], b, 0), np.arange(b)
    pairs = np.argwhere(np.triu(joined))
    moved, onto = rng.random((len(pairs), b)) < share, rng.integers(m, size=(len(pairs), b))
    for k, (i, j) in enumerate(pairs):
        target = onto[k]
        go = np.flatnonzero(moved[k] & (target != i) & ~made[everyone, i, target])
        made[go, i, j] = made[go, j, i] = False
        made[go, i, target[go]] = made[go, target[go], i] = True
    return made


def stochastic_blocks(
    rng: np.random.Generator,
    count: int,
    variables: int,
    *,
    edges: Sequence[float] = (1.0, 2.0, 3.0),
    parts: Sequence[int] = (2, 4, 5, 10),
    damping: float = 0.1,
) -> DAGs:
    """Stochastic block model: random blocks, edges between them `damping` times as likely as within.

    The probability within is set for `edges` (drawn per graph) expected edges per variable, at most 0.99.
    """
    label = rng.integers(rng.choice(np.asarray(parts), count)[:, None], size=(count, variables))
    weight = np.triu(np.where(label[:, :, None] == label[:, None, :], 1.0, damping), 1)
    wanted = rng.choice(np.asarray(edges, np.float64), count) * variables
    p = wanted / np.maximum(weight.sum((1, 2)), 1e-9)
    return rng.random(weight.shape) < np.minimum(0.99, p[:, None, None] * weight)


def random_geometric(
    rng: np.random.Generator, count: int, variables: int, radius: tuple[float, float] = (0.08, 0.15)
) -> DAGs:
    """Random geometric graphs: points in the unit square, adjacent within a radius that is drawn per graph."""
    points = rng.random((count, variables, 2))
    square = ((points[:, :, None] - points[:, None]) ** 2).sum(-1)
    return np.triu(square < rng.uniform(*radius, count)[:, None, None] ** 2, 1)


def chain(rng: np.random.Generator, count: int, variables: int) -> DAGs:
    """One path through all variables."""
    return np.repeat(np.eye(variables, k=1, dtype=bool)[None], count, 0)


def fork(rng: np.random.Generator, count: int, variables: int) -> DAGs:
    """One cause of all others."""
    made = np.zeros((count, variables, variables), bool)
    made[:, :1, 1:] = True
    return made


def tree(rng: np.random.Generator, count: int, variables: int) -> DAGs:
    """Each variable has one cause, drawn uniformly from those before it."""
    made = np.zeros((count, variables, variables), bool)
    for j in range(1, variables):
        made[np.arange(count), rng.integers(j, size=count), j] = True
    return made


def empty(rng: np.random.Generator, count: int, variables: int) -> DAGs:
    """No edge."""
    return np.zeros((count, variables, variables), bool)


FAMILIES: dict[str, Callable[[np.random.Generator, int, int], DAGs]] = {
    "er": erdos_renyi,
    "sparse": sparse,
    "sf": scale_free,
    "sf-transposed": scale_free_transposed,
    "ws": watts_strogatz,
    "sbm": stochastic_blocks,
    "grg": random_geometric,
    "chain": chain,
    "fork": fork,
    "tree": tree,
    "empty": empty,
}
FAMILY_SHARES = {"er": 0.3, "sf": 0.14, "sf-transposed": 0.14, "sparse": 0.08, "ws": 0.06, "sbm": 0.08, "grg": 0.04}
FAMILY_SHARES |= {"chain": 0.02, "fork": 0.02, "tree": 0.02, "empty": 0.1}
"""Default shares of the families; they sum to 1."""


def mixture(
    rng: np.random.Generator, count: int, variables: int, shares: Mapping[str, float], most_parents: int = MAX_PARENTS
) -> tuple[DAGs, list[str]]:
    """Graphs of families that are drawn per graph, with the families' names; parents are capped at `most_parents`."""
    names = sorted(shares)
    p = np.array([shares[name] for name in names], np.float64)
    drawn = rng.choice(len(names), count, p=p / p.sum())
    made = np.zeros((count, variables, variables), bool)
    for k, name in enumerate(names):
        if (chosen := np.flatnonzero(drawn == k)).size:
            made[chosen] = FAMILIES[name](rng, len(chosen), variables)
    return with_parents_capped(rng, made, most_parents), [names[k] for k in drawn]


def with_parents_capped(rng: np.random.Generator, made: DAGs, most: int) -> DAGs:
    """The graphs with random parents removed from variables that have more than `most`."""
    if made.sum(1).max(initial=0) <= most:
        return made
    score = np.where(made, rng.random(made.shape), -1.0)
    rank = np.argsort(np.argsort(-score, axis=1), axis=1)
    return made & (rank < most)


def sub_graphs(rng: np.random.Generator, count: int, variables: int, of: Bool[ndarray, "m m"]) -> DAGs:
    """Connected parts of a larger DAG, each grown from a random variable along random edges; in causal order.

    Raises:
        BadInput: the DAG has fewer variables than asked for, or a cycle.
    """
    order = causal_order(of)
    if len(order) < len(of):
        raise BadInput("the graph to take parts of has a directed cycle; give a DAG")
    if len(of) < variables:
        raise BadInput(f"parts of {variables} variables cannot come from a graph of {len(of)}; give a larger one")
    position, adjacent = np.argsort(order), of | of.T
    made = np.zeros((count, variables, variables), bool)
    for k in range(count):
        kept = np.zeros(len(of), bool)
        while kept.sum() < variables:
            near = adjacent[kept].any(0) & ~kept
            kept[rng.choice(np.flatnonzero(near if near.any() else ~kept))] = True
        inside = sorted(np.flatnonzero(kept), key=lambda i: position[i])
        made[k] = of[np.ix_(inside, inside)]
    return made
