"""Graphs of random halves of the rows, each searched from the graph of all rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray

from intaglio.causal.confounding.class_repair import AllowedGraphs, Edges
from intaglio.causal.confounding.edge_search import improved
from intaglio.causal.confounding.ricf import DistrictScores
from intaglio.causal.methods.spot.shrinkage import shrinkage, shrunk
from intaglio.randomness import numpy_generator
from intaglio.runs.deadline import Deadline
from intaglio.runs.fan_out import fan_out_in_order, workers_of_cluster
from intaglio.runs.run import Run

STATE = "half samples"
SWEEPS = 2
"""Most sweeps of the search over edges; it begins near its end."""
STREAM = 1
"""Index of the random streams that rows and orders of pairs are drawn from."""


def half_sample_graphs(
    standard: Float64[ndarray, "n d"],
    edges: Edges,
    allowed: AllowedGraphs,
    pairs: list[tuple[int, int]],
    costs: Float64[ndarray, "d d"],
    count: int,
    seed: int,
    in_time: Callable[[], bool],
    run: Run,
    *,
    state: str = STATE,
    stream: int = STREAM,
    sweeps: int = SWEEPS,
    deadline: Deadline | None = None,
) -> list[Edges]:
    """The edges of the graphs of `count` random halves of the rows, or of as many as there is time for.

    Inside `on_cluster` each half is a piece of work there.

    Args:
        standard: rows of standardised columns.
        edges: the graph of all rows, which each search begins at.
        allowed: graphs that a search may end with.
        pairs: pairs that it looks at.
        costs: costs of adjacent pairs, beside the BIC.
        count: number of halves.
        seed: seed of the halves.
        in_time: whether there is time left.
        run: takes progress and a checkpoint after each half.
        state: name of the checkpoint.
        stream: index of the random streams.
        sweeps: most sweeps of each search.
        deadline: of pieces on a cluster, which cannot ask `in_time`; None for none.
    """
    done, workers = _stored(run, state), workers_of_cluster()
    within = in_time if workers == 1 else deadline
    search = _HalfSearch(standard, edges, allowed, pairs, costs, (seed, stream), sweeps, within)
    with run.progress(count, state, len(done)) as progress:
        for _, found in fan_out_in_order(search, range(len(done), count), workers):
            if found is None or not in_time():
                break
            done.append(found)
            run.save_state(state, _tensors(done), {"done": len(done)}, every_s=5.0)
            progress.advance()
    return done


@dataclass(frozen=True, eq=False)
class _HalfSearch:
    """The graph of a half by its number, in whatever process; None where its time was over."""

    standard: Float64[ndarray, "n d"]
    edges: Edges
    allowed: AllowedGraphs
    pairs: list[tuple[int, int]]
    costs: Float64[ndarray, "d d"]
    source: tuple[int, int]
    """Seed, and index of the random stream."""
    sweeps: int
    in_time: Callable[[], bool] | None

    def __call__(self, number: int) -> Edges | None:
        in_time, random = self.in_time or (lambda: True), numpy_generator(*self.source, number)
        half = self.standard[random.permutation(len(self.standard))[: len(self.standard) // 2]]
        correlation = np.corrcoef(half.T)
        scores = DistrictScores(shrunk(correlation, shrinkage(correlation, len(half))), len(half))
        found, _ = improved(self.edges, scores, self.allowed, self.pairs, self.sweeps, random, in_time, self.costs)
        return found if in_time() else None


def _tensors(done: list[Edges]) -> dict[str, Any]:
    return {"edges": torch.from_numpy(np.array([np.stack([one.directed, one.bidirected]) for one in done]))}


def _stored(run: Run, state: str) -> list[Edges]:
    saved = run.load_state(state)
    return [] if saved is None else [Edges(*edges) for edges in saved[0]["edges"].numpy()]
