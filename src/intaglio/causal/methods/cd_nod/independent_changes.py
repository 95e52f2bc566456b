"""Orientation by independent changes: of two changing variables, the direction whose modules change independently."""

from collections.abc import Callable
from dataclasses import dataclass

import networkx as nx
import numpy as np
from jaxtyping import Int
from numpy import ndarray

from intaglio.causal.methods.cd_nod import regimes
from intaglio.causal.methods.cd_nod.driving_forces import shared_change
from intaglio.causal.methods.cd_nod.modules import ModuleMatrix, Modules, dependence, similarities
from intaglio.causal.methods.cd_nod.orientation import Arrow, PartialDag, new_colliders
from intaglio.randomness import numpy_generator

RESAMPLES = 200
"""Resamples of the blocks of the context."""
LEAST_SHARE = 0.8
"""Share of resamples that must give the same sink, for its edges to be oriented."""
MOST_SHARED = 0.7
"""Correlation of the leading components of two changes above which both are taken to follow one driver."""


@dataclass(frozen=True)
class SinkDecision:
    """The choice of a sink among changing variables that undirected edges join."""

    sink: int
    """The variable whose module changes least with those of its neighbours."""
    tails: tuple[int, ...]
    """Its neighbours by undirected edges."""
    score: float
    """Normalised HSIC in [0, 1] of P(sink | parents and neighbours) and P(parents and neighbours)."""
    runner_up: float
    """The score of the second best variable."""
    share: float
    """Share of resamples with the same sink, in [0, 1]."""
    shared: float
    """Absolute correlation in [0, 1] of the leading components of the two changes."""
    regimes: int
    """Independent regimes of the context."""
    accepted: bool
    """Whether the edges were oriented into the sink."""
    why: str = ""
    """Reason of an abstention; empty where there is none."""


class IndependentChanges:
    """Phase 3: repeatedly, the sink among changing variables joined by undirected edges.

    A candidate's hypothetical causes are its parents and its neighbours by undirected edges. The smallest dependence
    between the changes of P(candidate | causes) and of P(causes) makes the sink, whose undirected edges are oriented
    into it; then Meek's rules follow. No sink is taken where this would close a cycle or make an unshielded collider.
    The edges stay undirected where the context has fewer independent regimes than asked for, where the two changes
    follow one driver, so that the direction cannot show, or where fewer than 80% of resamples of blocks of the context
    give the same sink.
    """

    def __init__(self, modules: Modules, *, least_regimes: int, seed: int, late: Callable[[], bool]):
        """`late`: whether the time is up; asked before each choice."""
        self._modules, self._least, self._seed, self._late = modules, least_regimes, seed, late
        self._similarities: dict[tuple[int, tuple[int, ...]], tuple[ModuleMatrix, ModuleMatrix]] = {}
        last = modules.variables.values[modules.points, -1]
        self._positions = None if modules.variables.levels[-1] else last

    def __call__(self, graph: PartialDag) -> tuple[PartialDag, tuple[SinkDecision, ...]]:
        """The graph with further arrows, and every choice, also those that were not made."""
        decisions: list[SinkDecision] = []
        left_alone: set[int] = set()
        while not self._late():
            joined = next((part for part in _components(graph) if not part & left_alone), None)
            if joined is None:
                break
            decision, graph = self._decided(graph, sorted(joined), len(decisions))
            if decision is not None:
                decisions.append(decision)
            if decision is None or not decision.accepted:
                left_alone |= joined
        return graph, tuple(decisions)

    def _decided(self, graph: PartialDag, joined: list[int], number: int) -> tuple[SinkDecision | None, PartialDag]:
        """The choice in one component, and the graph that follows; None where no variable can be a sink."""
        trials = {k: trial for k in joined if (trial := with_sink(graph, k)) is not None}
        if not trials:
            return None, graph
        pairs = {k: self._pair(k, _causes(graph, k)) for k in joined}
        scores = {k: dependence(*map(similarities, pairs[k])) for k in trials}
        sink = min(trials, key=lambda k: (scores[k], k))
        count = regimes.regimes([module for pair in pairs.values() for module in pair], self._positions)
        share = self._share({k: pairs[k] for k in trials}, sink, count, number)
        shared = shared_change(*pairs[sink])
        others = [score for k, score in scores.items() if k != sink]
        decision = SinkDecision(
            sink=sink,
            tails=tuple(np.flatnonzero(graph.undirected[sink]).tolist()),
            score=scores[sink],
            runner_up=min(others, default=scores[sink]),
            share=share,
            shared=shared,
            regimes=count,
            accepted=not (why := self._doubt(count, share, shared)),
            why=why,
        )
        return decision, trials[sink] if decision.accepted else graph

    def _doubt(self, count: int, share: float, shared: float) -> str:
        """The reason to leave the edges undirected; empty where there is none."""
        if count < self._least:
            return f"{count} independent regimes of the context are fewer than {self._least}"
        if shared > MOST_SHARED:
            return f"the two changes correlate by {shared:.2f}, as those of one driver do"
        if share < LEAST_SHARE:
            return f"{share:.0%} of resamples of the context agree, fewer than {LEAST_SHARE:.0%}"
        return ""

    def _pair(self, effect: int, causes: tuple[int, ...]) -> tuple[ModuleMatrix, ModuleMatrix]:
        """The matrices of P(effect | causes) and of P(causes)."""
        key = (effect, causes)
        if key not in self._similarities:
            self._similarities[key] = self._modules.conditional(effect, causes), self._modules.joint(causes)
        return self._similarities[key]

    def _share(self, pairs: dict[int, tuple[ModuleMatrix, ModuleMatrix]], sink: int, count: int, number: int) -> float:
        """Share of resamples of blocks of the context that give the same sink."""
        random = numpy_generator(self._seed, number)
        grams = {k: (similarities(first), similarities(second)) for k, (first, second) in pairs.items()}
        parts = regimes.blocks(len(self._modules.points), max(2, count))
        agreed = 0
        for _ in range(RESAMPLES):
            rows = np.concatenate([parts[k] for k in random.integers(len(parts), size=len(parts))])
            scores = {k: _resampled(*pair, rows) for k, pair in grams.items()}
            agreed += min(scores, key=lambda k: (scores[k], k)) == sink
        return agreed / RESAMPLES


def _resampled(first: ModuleMatrix, second: ModuleMatrix, rows: Int[ndarray, "k"]) -> float:
    return dependence(first[np.ix_(rows, rows)], second[np.ix_(rows, rows)])


def _components(graph: PartialDag) -> list[set[int]]:
    """Sets of changing variables that undirected edges join, the one with the smallest variable first."""
    changing = graph.directed[-1]
    joined = graph.undirected & changing & changing[:, None]
    parts = nx.connected_components(nx.from_numpy_array(joined))
    return sorted((set(part) for part in parts if len(part) > 1), key=min)


def _causes(graph: PartialDag, k: int) -> tuple[int, ...]:
    """Parents and undirected neighbours other than the context."""
    return tuple(np.flatnonzero((graph.directed[:, k] | graph.undirected[:, k])[:-1]).tolist())


def with_sink(graph: PartialDag, sink: int) -> PartialDag | None:
    """The graph with the undirected edges of a variable oriented into it, closed; None where that cannot be.

    It cannot where it closes a cycle, makes an unshielded collider, or leaves no DAG.
    """
    tails = np.flatnonzero(graph.undirected[sink]).tolist()
    arrows: list[Arrow] = [(tail, sink) for tail in tails]
    adjacent = graph.directed | graph.directed.T | graph.undirected
    if new_colliders(adjacent, graph.undirected[sink], graph.undirected[sink] | graph.directed[:, sink]):
        return None
    closed = graph.with_arrows(arrows, "independent changes").closed()
    return closed if closed.consistent() else None
