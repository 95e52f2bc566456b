"""SiCL: supervised causal discovery by a network trained on simulated tables; nothing is fitted to the data."""

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy import ndarray

from intaglio.causal.family import NO_KNOWLEDGE, Discoverer, as_table, unusable_knowledge
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.methods.sicl import predict
from intaglio.causal.methods.sicl.networks.weights import TrainedNetwork, fingerprint, load_network, network_path
from intaglio.causal.methods.sicl.unlikeness import unlikeness, warnings
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.tables.assumptions import ExaminedTable, examine
from intaglio.causal.tables.table import Kinds, Table
from intaglio.runs.fan_out import fan_out_in_order, workers_of_cluster
from intaglio.runs.run import Run
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

MIN_SUBSAMPLE_ROWS = 50
"""Least rows of a subsample."""
STATE = "subsamples"
"""Name of the checkpoint in a run."""
MOST_SUBSAMPLES = 10_000
"""Most subsamples; all their results are held in memory, and more tell a share no better than to 1%."""
MANY_SUBSAMPLES, FEW_COLUMNS = 150, 15
"""Subsamples beside which the three of a plan are little, and columns up to which these take less than a second."""


@dataclass(frozen=True, kw_only=True)
class SiCL(Discoverer):
    """Find the causal graph by a network that was trained on simulated tables.

    It takes one pass and seconds, with no tests to choose. From a table [n, d] the network predicts what is
    identifiable, as all DAGs of a Markov equivalence class share it: P(i, j adjacent), P(k collider of i and j),
    P(i → j compelled). The probabilities are calibrated by n and d. Colliders are accepted strongest first as far as
    they agree, Meek's rules follow, and the result is always a valid CPDAG, or an MPDAG where knowledge was given. For
    numbers with linear effects, and other tables where it helped in validation, a tabu search over Σ log-probabilities
    + weight·BIC follows.

    Tables may have numbers, ordered and unordered levels, mixtures and missing cells. Units, signs, names, the order of
    rows and of columns do not matter for the graph. At least 10 rows are needed; above 64 columns expect more errors.
    The method assumes no cycles, no hidden common causes, no selection, and independent, identically distributed rows.
    Where a table itself contradicts this, a warning says so and the answer heeds it: a repeated row counts once, trends
    over the rows are taken out, rows that depend on those before count as their effective number, and gaps that depend
    on other columns are filled by draws from regressions. In tables with rarer levels than any in training the
    probabilities of their edges are bounded by exact counts. Trees learnt on broken simulated tables (hidden factors,
    counts of cells and others) tell how probably the network's graph is worse than no edge (`ood_score`), and what
    probabilities hold where it may be.

    Source: arXiv 2502.10883 (learning targets, the network `axial`); `node-edge` after arXiv 2205.12934.
    """

    model: str = "light"
    """The network: light, axial (the published design, small), node-edge (the baseline), or the folder of another."""
    threshold: float | Literal["f1"] = 0.5
    """Probability in (0, 1) above which a pair is adjacent; f1 takes the one of the best expected F1."""
    collider_threshold: float = 0.5
    """Probability in (0, 1) above which an unshielded triple is a collider."""
    refine: float | Literal["auto"] = "auto"
    """Weight, 0 or more, of BIC beside the network's logits in a tabu search from the network's graph; auto takes the
    best one in validation for such tables, 0 makes no search."""
    subsamples: int = 0
    """Number of subsamples of half the rows, 50 at least, on which the search is repeated to measure stability."""
    seed: int = 0
    """Seed of the subsamples, and of the rows that are sampled from a long file."""
    device: str = "cpu"
    """Torch device, such as cpu or cuda."""

    def __post_init__(self) -> None:
        for name in ("threshold", "collider_threshold"):
            value = getattr(self, name)
            if value != "f1" and not 0 < value < 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {value}")
        if self.refine != "auto" and not 0 <= self.refine < float("inf"):
            raise ValueError(f"refine must be auto, or 0 or more, not {self.refine}")
        if self.subsamples < 0:
            raise ValueError(f"subsamples must not be negative: {self.subsamples}")
        if self.subsamples > MOST_SUBSAMPLES:
            raise ValueError(f"subsamples must be at most {MOST_SUBSAMPLES:,}, not {self.subsamples:,}; 30 are usual")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative: {self.seed}")

    def __call__(
        self,
        table: Table | Any,
        *,
        kinds: Kinds | None = None,
        knowledge: Knowledge = NO_KNOWLEDGE,
        run: Run = Run.none(),
    ) -> Discovery:
        """See `Discoverer.__call__`; a killed search resumes at the subsample that it was at."""
        began = time.monotonic()
        whole = as_table(table, kinds)
        knowledge.check(whole.all_names)
        network = load_network(self.model, device=self.device)
        known = knowledge.restricted_to(whole.names)
        examined = examine(whole)
        found = self.predicted(network, examined, known)
        unlike = unlikeness(found)
        spread = frequencies = None
        if self.subsamples:
            spread, frequencies = self._stability(network, examined, known, run)
        return Discovery(
            method=self.name,
            **found.over_all_columns(whole),
            spread=spread,
            frequencies=frequencies,
            ood_score=unlike.score,
            ood_reasons=unlike.reasons,
            duplicates=whole.duplicates,
            isolated=whole.isolated,
            warnings=(
                *whole.warnings,
                *(f"{one.warning}{one.advice}{'; ' * bool(one.remedy)}{one.remedy}" for one in examined.broken),
                *warnings(whole, found, unlike),
                *unusable_knowledge(knowledge, whole),
                *_too_few_rows(len(examined.table) if self.subsamples else None),
            ),
            rows=len(examined.table),
            seconds=time.monotonic() - began,
        )

    def planned(self, table: Table, *, knowledge: Knowledge = NO_KNOWLEDGE) -> TimePlan:
        """See `Discoverer.planned`: the graph itself is found once, and one subsample is searched."""
        knowledge.check(table.all_names)
        began = time.perf_counter()
        network, known = load_network(self.model, device=self.device), knowledge.restricted_to(table.names)
        examined = examine(table)
        unlikeness(self.predicted(network, examined, known))
        parts = {"the graph": time.perf_counter() - began}
        if self.subsamples:
            one = _Subsample(self, network, examined, known)
            parts["subsamples"] = self.subsamples * seconds_of(lambda: one(0), self.device)
        return TimePlan(parts, f"columns    {len(table.names)}, rows {len(table):,}")

    def plans_quickly(self, table: Table) -> bool:
        """See `Discoverer.plans_quickly`: a plan takes as long as three subsamples, which are quick for few columns."""
        return self.subsamples >= MANY_SUBSAMPLES or (self.subsamples > 0 and len(table.names) <= FEW_COLUMNS)

    def undivided(self) -> str:
        """See `Discoverer.undivided`."""
        return "" if self.subsamples else "it is one pass of a network without --subsamples"

    def forget(self, run: Run) -> None:
        """See `Discoverer.forget`."""
        run.drop_state(STATE)

    def weights(self) -> dict[str, dict[str, str]]:
        """The network's folder and the hash of its content."""
        folder = network_path(self.model)
        return {"network": {"path": str(folder), "sha256": fingerprint(folder)}}

    def predicted(
        self, network: TrainedNetwork, examined: ExaminedTable, knowledge: Knowledge
    ) -> predict.PredictedGraph:
        """The graph of one table by the network and what follows it."""
        return predict.predict_graph(
            network,
            examined,
            threshold=self.threshold,
            collider_threshold=self.collider_threshold,
            refine=self.refine,
            knowledge=knowledge,
        )

    def _stability(
        self, network: TrainedNetwork, examined: ExaminedTable, knowledge: Knowledge, run: Run
    ) -> tuple[ndarray, ndarray]:
        """Standard deviation [d, d] of adjacency and frequencies [d, d, 4] of marks, over subsamples of the rows."""
        done = _stored_subsamples(run)
        work = _Subsample(self, network, examined, knowledge)
        with run.progress(self.subsamples, "subsamples", len(done)) as progress:
            left = range(len(done), self.subsamples)
            for _, found in fan_out_in_order(work, left, workers_of_cluster()):
                done.append(found)
                tensors = {f"{k:04d}/{i}": torch.from_numpy(x) for k, one in enumerate(done) for i, x in enumerate(one)}
                run.save_state(STATE, tensors, {"done": len(done)}, every_s=5.0)
                progress.advance()
        return np.std([p for p, _ in done], axis=0), np.mean([marks for _, marks in done], axis=0)


@dataclass(frozen=True, eq=False)
class _Subsample:
    """Probabilities [d, d] and marks [d, d, 4] of a subsample of the rows by its number, in whatever process."""

    method: SiCL
    network: TrainedNetwork
    examined: ExaminedTable
    knowledge: Knowledge

    def __call__(self, number: int) -> tuple[ndarray, ndarray]:
        n = len(self.examined.table)
        size = min(n, max(MIN_SUBSAMPLE_ROWS, n // 2))
        # One generator per subsample, so that a resumed search draws the same ones.
        rows = np.sort(np.random.default_rng([self.method.seed, number]).permutation(n)[:size])
        predicted = self.method.predicted(self.network, self.examined.part(rows), self.knowledge)
        found = predicted.over_all_columns(self.examined.table)
        graph = found["graph"]
        marks = np.stack([~graph.skeleton, graph.directed, graph.directed.T, graph.undirected], -1)
        return found["adjacent"], marks.astype(np.float64)


def _stored_subsamples(run: Run) -> list[tuple[ndarray, ndarray]]:
    saved = run.load_state(STATE)
    if saved is None:
        return []
    tensors, meta = saved
    return [(tensors[f"{k:04d}/0"].numpy(), tensors[f"{k:04d}/1"].numpy()) for k in range(int(meta["done"]))]


def _too_few_rows(rows: int | None) -> tuple[str, ...]:
    """A warning where every subsample is the whole table."""
    if rows is None or rows > MIN_SUBSAMPLE_ROWS:
        return ()
    return (
        f"{rows} rows are too few for subsamples: each is the whole table, and says nothing of how stable edges are",
    )
