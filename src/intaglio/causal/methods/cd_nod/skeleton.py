"""Skeleton of the graph over the variables and the context, by PC-stable with a cap on the conditioning sets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.causal.independence.variables import IndependenceTest, Pair
from intaglio.causal.methods.cd_nod.answers import Answers


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Adjacencies of d variables and, last, the context, with the sets that separate the other pairs."""

    adjacent: Bool[ndarray, "v v"]
    separating: Mapping[Pair, tuple[int, ...]]
    """The set that made a pair independent, by the pair in rising order; of pairs that knowledge keeps apart the set of
    the largest p-value."""
    p: Float[ndarray, "v v"]
    """The largest p-value of a pair over all its tests; NaN for a pair without any."""
    unfinished: int | None = None
    """The level, the size of conditioning sets, at which the time limit ended the search; None where it was not met."""


class SkeletonSearch:
    """PC-stable, level by level: at level l a pair is separated by the first set of l neighbours with p > alpha.

    Neighbours are those at the start of the level (Colombo and Maathuis, JMLR 15, 2014), so that no result depends on
    the order within it. Sets with the context come first: they remove what changes together, soonest. All pairs that
    share a set are tested together. A pair with the context is tested given neighbours of the variable alone, since
    nothing causes the context. In a finished search each pair left has been tested at every level up to `depth`.
    """

    def __init__(self, test: IndependenceTest, answers: Answers, *, alpha: float, depth: int):
        """`answers` keeps the p-values, and has those of an earlier, killed search."""
        self._test, self._answers, self._alpha, self._depth = test, answers, alpha, depth

    def __call__(
        self,
        held: Bool[ndarray, "v v"],
        apart: Bool[ndarray, "v v"],
        *,
        late: Callable[[], bool],
        finished: Callable[[int], None],
    ) -> Skeleton:
        """Searches from the complete graph.

        Args:
            held: symmetric; pairs that are adjacent whatever the tests say.
            apart: symmetric; pairs that are not, whatever the tests say; they are tested for their separating sets.
            late: whether the time is up; asked before each conditioning set.
            finished: called with each level once it is done.
        """
        d = len(held)
        adjacent, open_pairs = ~np.eye(d, dtype=bool) & ~apart, ~np.eye(d, dtype=bool) & ~held
        largest, where = np.full((d, d), np.nan), {}
        for level in range(self._depth + 1):
            for given, pairs in conditioning_sets(adjacent, open_pairs, level):
                if late():
                    return _skeleton(adjacent & (open_pairs | held), where, largest, level)
                pairs = [pair for pair in pairs if open_pairs[pair]]
                for (x, y), p in zip(pairs, self._answers.ask(self._test, pairs, given), strict=True):
                    if not p <= largest[x, y]:  # also where there was none yet
                        largest[x, y] = largest[y, x] = p
                        where[x, y] = given
                    if p > self._alpha:
                        open_pairs[x, y] = open_pairs[y, x] = False
            adjacent &= open_pairs | held
            finished(level)
        return _skeleton(adjacent, where, largest, None)


def _skeleton(adjacent, where: Mapping[Pair, tuple[int, ...]], largest, unfinished: int | None) -> Skeleton:
    separating = {pair: given for pair, given in where.items() if not adjacent[pair]}
    return Skeleton(adjacent, separating, largest, unfinished)


def conditioning_sets(
    adjacent: Bool[ndarray, "v v"], open_pairs: Bool[ndarray, "v v"], level: int
) -> list[tuple[tuple[int, ...], list[Pair]]]:
    """Every set of `level` variables with the pairs it is to be tried on, sets with the context (the last) first."""
    context = len(adjacent) - 1
    found: dict[tuple[int, ...], list[Pair]] = {}
    for x, y in np.argwhere(np.triu(open_pairs)).tolist():
        ends = (x,) if y == context else (x, y)
        around = [np.flatnonzero(adjacent[end]).tolist() for end in ends]
        sets = {given for near in around for given in combinations([k for k in near if k not in (x, y)], level)}
        for given in sets:
            found.setdefault(given, []).append((x, y))
    return sorted(found.items(), key=lambda entry: (context not in entry[0], entry[0]))
