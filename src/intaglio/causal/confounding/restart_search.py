"""Search from many starts: gradients for all restarts at once, then a search by BIC over single edges of the best."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from torch import Tensor

from intaglio.causal.confounding.class_repair import AllowedGraphs, Edges, in_agreement, repaired, thresholded
from intaglio.causal.confounding.edge_search import improved, prior_of
from intaglio.causal.confounding.mixed_graph_learner import MixedGraphLearner, Restarts, SearchSpace
from intaglio.causal.confounding.ricf import DistrictScores
from intaglio.causal.graphs.knowledge import Constraints
from intaglio.errors import IntaglioError
from intaglio.randomness import numpy_generator
from intaglio.runs.deadline import Deadline
from intaglio.runs.fan_out import fan_out, workers_of_cluster
from intaglio.runs.run import Run

STATE = "restarts"
"""Name of the checkpoint in a run."""
STATE_EVERY_S = 5.0
"""Least seconds between two checkpoints."""
LEARNING_SHARE = 0.5
"""Share of the time limit after which gradients end, so that there is time for the search over edges."""
TIMED_S = 30.0
"""Most seconds of one search over edges in a plan."""
MOST_SHARES = 4
"""Most parts that the time that is left is divided into, one of which the next graph has."""


@dataclass(frozen=True, kw_only=True)
class SearchBudget:
    """Numbers of restarts and sweeps, and the time limit of a search."""

    restarts: int
    searched: int
    """Restarts, those of the best scores, whose graphs the search over edges begins at."""
    sweeps: int
    """Most sweeps of the search over edges."""
    time_limit: float
    """Seconds, over all resumptions."""
    seed: int
    reserved: float = 0.0
    """Share of the time limit, from 0 up to 1, that is left for what its caller does after the search over edges."""


class RestartSearch:
    """One search: the time it has taken over all resumptions, and its checkpoint.

    A graph's score is its BIC, plus the costs of its adjacent pairs where there are any; smaller is better.
    """

    def __init__(
        self,
        learner: MixedGraphLearner,
        covariance: Float64[ndarray, "d d"],
        allowed: AllowedGraphs,
        budget: SearchBudget,
        pairs: Callable[[Edges], Sequence[tuple[int, int]]],
        run: Run,
        costs: Float64[ndarray, "d d"] | None = None,
        initial: Float64[Tensor, "d d"] | None = None,
    ):
        """Prepares a search.

        Args:
            learner: searches by gradients.
            covariance: S, positive definite.
            allowed: graphs that the search may end with.
            budget: numbers of restarts and sweeps, and the time limit.
            pairs: pairs that the search over edges looks at, for the graph that it begins at.
            run: takes progress and checkpoints.
            costs: added to the BIC for each adjacent pair, symmetric; None for no costs.
            initial: factors of the first parameters, symmetric; None for ones.
        """
        self.learner, self.covariance, self.allowed, self.budget = learner, covariance, allowed, budget
        self.pairs, self.run, self.initial = pairs, run, initial
        self.costs = np.zeros_like(covariance) if costs is None else costs
        self.began, self.before, self.late = time.monotonic(), 0.0, False
        self.finished: dict[int, tuple[float, Edges]] = {}

    def in_time(self, share: float = 1.0) -> bool:
        """Whether less than a share of the time limit has passed; once it has, the search is `late`."""
        self.late = self.late or self._passed() > share * self.budget.time_limit
        return not self.late

    def within_limit(self) -> bool:
        """Whether less than the time limit has passed, which says nothing of the search itself."""
        return self._passed() <= self.budget.time_limit

    @property
    def seconds_left(self) -> float:
        """Seconds until the time limit, below 0 after it."""
        return self.budget.time_limit - self._passed()

    def _passed(self) -> float:
        return self.before + time.monotonic() - self.began

    def _share_of_time(self, graphs: int) -> Callable[[], bool]:
        """Whether there is time left for this graph, of so many that are left; each has a share, at most `MOST_SHARES`.

        The graphs come by their scores, so that where time is short the first ones have more of it.
        """
        end = time.monotonic() + self._seconds_to_search() / min(graphs, MOST_SHARES)

        def in_time() -> bool:
            over = time.monotonic() > end
            self.late = self.late or over
            return not over

        return in_time

    def _seconds_to_search(self) -> float:
        return (1 - self.budget.reserved) * self.budget.time_limit - self._passed()

    def found(self) -> list[tuple[float, Edges]]:
        """Score and edges of the graphs that the search over edges ended at, one at least.

        Raises:
            IntaglioError: no restart has such a graph.
        """
        if not (found := self._graphs(self._learnt())):
            raise IntaglioError(
                "the search found no graph that agrees with what is known beforehand; take some of it back, or raise "
                "--restarts"
            )
        return found

    def timed(self) -> tuple[dict[str, float], Edges]:
        """Seconds of the rounds and of the searches over edges, from some rounds and one search; and its graph.

        Rounds end earlier where graphs come into the class; a graph after few rounds has more edges than after all, and
        its search takes longer.
        """
        state, rounds = self.learner.begin(self.budget.restarts, self.budget.seed, self.initial), 0
        most, began = self.learner.stages * self.learner.rounds_each, time.perf_counter()
        for _ in self.learner.search(state):
            rounds += 1
            if 2 * rounds >= most:
                break
        learning = (time.perf_counter() - began) * (1.0 if state.ended.all() else most / rounds)
        began = time.perf_counter()
        arrows, doubles = (part.cpu().numpy() for part in self.learner.standardised(state.arrows, state.doubles))
        starts = [self._start(*pair) for pair in zip(arrows, doubles, strict=True)]
        beginning = time.perf_counter() - began
        possible = sorted((k for k in range(len(starts)) if starts[k][0] < np.inf), key=lambda k: starts[k][0])
        if not possible:
            return {"rounds": learning, "graphs": beginning}, starts[0][1]
        began, first = time.perf_counter(), starts[possible[0]][1]
        deadline = Deadline.after(TIMED_S)
        _, best = self._edge_search()(_EdgeStart(possible[0], first, list(self.pairs(first)), deadline))
        one = time.perf_counter() - began
        searched = min(self.budget.searched, self.budget.restarts)
        return {"rounds": learning, "graphs": beginning + searched * one}, best

    def _learnt(self) -> Restarts:
        """The restarts at their ends, or where they were when their time was over."""
        state = self._stored() or self.learner.begin(self.budget.restarts, self.budget.seed, self.initial)
        most = self.learner.stages * self.learner.rounds_each
        with self.run.progress(most, "rounds", int(state.rounds.max())) as progress:
            for _ in self.learner.search(state):
                self._save(state)
                progress.advance()
                if not self.in_time(LEARNING_SHARE):
                    break
        return state

    def _graphs(self, state: Restarts) -> list[tuple[float, Edges]]:
        """Score and edges of the best restarts' graphs, improved by the search over edges."""
        arrows, doubles = (part.cpu().numpy() for part in self.learner.standardised(state.arrows, state.doubles))
        starts: list[tuple[float, Edges]] = []
        for pair in zip(arrows, doubles, strict=True):
            if starts and not self.in_time():
                break
            starts.append(self._start(*pair))
        order = sorted(range(len(starts)), key=lambda k: starts[k][0])
        chosen = [k for k in order if starts[k][0] < np.inf][: self.budget.searched]
        left, workers = [k for k in chosen if k not in self.finished], workers_of_cluster()
        found = self._here if workers == 1 else self._elsewhere
        with self.run.progress(len(chosen), "graphs", len(self.finished)) as progress:
            for k, improvement in found([(k, starts[k][1]) for k in left], workers):
                self.finished[k] = improvement
                self._save(state)
                progress.advance()
        return [self.finished[k] for k in chosen]

    def _here(self, starts: Sequence[tuple[int, Edges]], workers: int) -> Iterator[tuple[int, tuple[float, Edges]]]:
        """Number, score and edges of each graph that is improved, one after the other."""
        for number, (k, edges) in enumerate(starts):
            in_time = self._share_of_time(len(starts) - number)
            yield k, self._edge_search()(_EdgeStart(k, edges, list(self.pairs(edges)), in_time))

    def _elsewhere(
        self, starts: Sequence[tuple[int, Edges]], workers: int
    ) -> Iterator[tuple[int, tuple[float, Edges]]]:
        """The same on a cluster, where `workers` of them go on at once, and have as long as the rounds leave them."""
        seconds, rounds = self._seconds_to_search(), -(-len(starts) // workers)
        jobs = [
            _EdgeStart(k, edges, list(self.pairs(edges)), Deadline.after(seconds * (1 + place // workers) / rounds))
            for place, (k, edges) in enumerate(starts)
        ]
        for job, found in fan_out(self._edge_search(), jobs, workers):
            self.late = self.late or not job.in_time()
            yield job.number, found

    def _edge_search(self) -> "_EdgeSearch":
        budget = self.budget
        return _EdgeSearch(self.covariance, self.learner.rows, self.allowed, budget.sweeps, budget.seed, self.costs)

    def _start(self, arrows: Float64[ndarray, "d d"], doubles: Float64[ndarray, "d d"]) -> tuple[float, Edges]:
        """Score and edges of one restart's graph; an infinite score where none agrees with what is known."""
        first = thresholded(arrows, doubles, self.learner.threshold, self.allowed.known)
        within = repaired(first, arrows, doubles, self.allowed)
        if (edges := in_agreement(within, self.allowed)) is None:
            return np.inf, within
        score = DistrictScores(self.covariance, self.learner.rows).quick_bic(edges.directed, edges.bidirected)
        return score + prior_of(edges, self.costs), edges

    def warnings(self) -> list[str]:
        """Sentences on an end that its user should know of: too early, or without a graph of some restart."""
        if not self.late:
            return []
        return [
            f"the time limit of {self.budget.time_limit:g} s ended the search early; a later one may find a better "
            "graph (--time-limit)"
        ]

    def _save(self, state: Restarts) -> None:
        order, d = sorted(self.finished), len(self.covariance)
        edges = [np.stack([self.finished[k][1].directed, self.finished[k][1].bidirected]) for k in order]
        tensors = {name: value.cpu() for name, value in state.tensors().items()}
        tensors["searched"] = torch.tensor(order, dtype=torch.int64)
        tensors["scores"] = torch.tensor([self.finished[k][0] for k in order], dtype=torch.float64)
        tensors["finished"] = torch.from_numpy(np.array(edges, bool).reshape(-1, 2, d, d))
        self.run.save_state(STATE, tensors, {"seconds": self._passed(), "late": self.late}, every_s=STATE_EVERY_S)

    def _stored(self) -> Restarts | None:
        saved = self.run.load_state(STATE)
        if saved is None:
            return None
        tensors, meta = saved
        order, scores, finished = (tensors.pop(name) for name in ("searched", "scores", "finished"))
        each = zip(order.tolist(), scores.tolist(), finished.numpy(), strict=True)
        self.finished = {k: (score, Edges(*edges)) for k, score, edges in each}
        self.before, self.late = float(meta["seconds"]), bool(meta["late"])
        device = self.learner.covariance.device
        return Restarts(**{name: value.to(device) for name, value in tensors.items()})


@dataclass(frozen=True, eq=False)
class _EdgeStart:
    """A graph that a search over edges begins at."""

    number: int
    """Of its restart."""
    edges: Edges
    pairs: list[tuple[int, int]]
    """Pairs that the search looks at."""
    in_time: Callable[[], bool]


@dataclass(frozen=True, eq=False)
class _EdgeSearch:
    """The search over edges from one graph, in whatever process."""

    covariance: Float64[ndarray, "d d"]
    rows: int
    allowed: AllowedGraphs
    sweeps: int
    seed: int
    costs: Float64[ndarray, "d d"]

    def __call__(self, start: _EdgeStart) -> tuple[float, Edges]:
        # Scores of its own for each restart: fits begin at earlier ones, and a resumed search must begin them alike.
        scores, random = DistrictScores(self.covariance, self.rows), numpy_generator(self.seed, start.number)
        given = (start.edges, scores, self.allowed, start.pairs, self.sweeps, random, start.in_time, self.costs)
        edges, score = improved(*given)
        return score, edges


def space_of(known: Constraints, device: str, doubles: bool = True) -> SearchSpace:
    """The parameters that knowledge leaves: no forbidden arrows, and no double arrow beside a certain one.

    Args:
        known: background knowledge.
        device: torch device.
        doubles: whether there may be double arrows at all.
    """
    other = ~np.eye(len(known.required), dtype=bool)
    certain = known.required | known.required.T
    may_be_double = other & ~known.apart & ~certain & doubles
    matrices = (other & ~known.forbidden, may_be_double, known.required)
    arrows, both, required = (torch.from_numpy(np.array(matrix)).to(device) for matrix in matrices)
    return SearchSpace(arrows=arrows, doubles=both, certain=required)
