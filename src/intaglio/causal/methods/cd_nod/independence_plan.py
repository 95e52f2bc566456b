"""The time of the tests of a search, before it begins: counted by a fast test, timed on some of them."""

import time
from collections import defaultdict

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.graphs.knowledge import Constraints
from intaglio.causal.independence.partial_correlation import PartialCorrelation
from intaglio.causal.independence.variables import IndependenceTest, Pair, Variables
from intaglio.causal.methods.cd_nod.answers import Answers
from intaglio.causal.methods.cd_nod.skeleton import SkeletonSearch
from intaglio.runs.run import Run

TIMED_SETS, TIMED_PAIRS = 3, 6
"""Conditioning sets of each level that are timed, and most pairs of each."""
COUNTED_S = 5.0
"""Most seconds in which tests are counted, and as many again in which they are timed."""

Questions = dict[int, list[tuple[list[Pair], tuple[int, ...]]]]
"""Pairs with their conditioning set, by its size."""


class _Counting:
    """A fast test that notes what it is asked."""

    def __init__(self, test: IndependenceTest):
        self._test, self.asked = test, defaultdict(list)

    def p_values(self, pairs: list[Pair], given: tuple[int, ...]) -> Float[ndarray, "k"]:
        """The answers of the fast test."""
        self.asked[len(given)].append((pairs, given))
        return self._test.p_values(pairs, given)


def questions(
    variables: Variables, constraints: Constraints, *, alpha: float, depth: int, test: IndependenceTest | None = None
) -> Questions:
    """The questions of a search whose test says what a fast one does, by default that of partial correlations."""
    counting, end = _Counting(test or PartialCorrelation(variables)), time.monotonic() + COUNTED_S
    search = SkeletonSearch(counting, Answers(Run.none()), alpha=alpha, depth=depth)
    search(constraints.adjacent, constraints.apart, late=lambda: time.monotonic() > end, finished=lambda level: None)
    return dict(counting.asked)


def seconds_of_tests(test: IndependenceTest, asked: Questions) -> float:
    """Seconds of all these tests, from some of every size of conditioning sets."""
    whole, end, pace = 0.0, time.monotonic() + COUNTED_S, 0.0
    for pairs, given in asked.get(0, []):  # kernels of single variables are made once
        test.p_values(_spanning(pairs), given)
    for _, sets in sorted(asked.items()):
        places = np.unique(np.linspace(0, len(sets) - 1, TIMED_SETS).astype(int)) if sets else []
        spent, done = 0.0, 0
        for place in places:
            if done and time.monotonic() > end:
                break
            pairs, given = sets[place][0][:TIMED_PAIRS], sets[place][1]
            began = time.perf_counter()
            test.p_values(pairs, given)
            spent += time.perf_counter() - began
            done += len(pairs)
        pace = spent / done if done else pace
        whole += pace * sum(len(pairs) for pairs, _ in sets)
    return whole


def _spanning(pairs: list[Pair]) -> list[Pair]:
    """Pairs that hold every variable, few of them."""
    seen: set[int] = set()
    chosen = []
    for pair in pairs:
        if not seen.issuperset(pair):
            seen |= set(pair)
            chosen.append(pair)
    return chosen
