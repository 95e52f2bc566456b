"""Stand-in for the method until it lands: a forest of the strongest correlations."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from intaglio.causal.discovery import Discovery
from intaglio.causal.graphs import Graph
from intaglio.causal.knowledge import Knowledge
from intaglio.causal.protocol import NOTHING_KNOWN, Discoverer, as_table
from intaglio.causal.table import Kinds, Table
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class SiCL(Discoverer):
    """Find the class of causal graphs of a table by a network that was trained on simulated tables."""

    name: ClassVar[str] = "sicl"

    model: Literal["light", "axial", "node-edge"] = "light"
    """The network."""
    threshold: float | Literal["f1"] = 0.5
    """Probability from which on a pair is adjacent, or f1 for the best expected F1."""
    subsamples: int = 0
    """Subsamples of half the rows, which tell how stable each edge is."""
    refine: bool = False
    """Search on by a score from what the network found."""
    seed: int = 0
    """Of the subsamples."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""

    def __post_init__(self) -> None:
        if self.subsamples < 0:
            raise ValueError(f"subsamples must not be negative: {self.subsamples}")

    def __call__(
        self,
        table: Table | Any,
        *,
        kinds: Kinds | None = None,
        knowledge: Knowledge = NOTHING_KNOWN,
        run: Run = Run.none(),
    ) -> Discovery:
        """See `Discoverer.__call__`."""
        found = as_table(table, kinds)
        knowledge.check(found.all_names)
        random, n = np.random.default_rng(self.seed), len(found.values)
        rows = [np.arange(n), *(random.permutation(n)[: max(2, n // 2)] for _ in range(self.subsamples))]
        state = run.load_state("subsamples")
        done = [p.numpy() for p in state[0].values()] if state else []
        with run.progress(len(rows), f"{self.model} {self.device} {self.refine}", len(done)) as bar:
            for chosen in rows[len(done) :]:
                done.append(np.abs(np.atleast_2d(np.corrcoef(found.values[chosen].T))))
                run.save_state("subsamples", {f"{k:04d}": torch.from_numpy(p) for k, p in enumerate(done)}, {})
                bar.advance()
        bar = 0.5 if self.threshold == "f1" else self.threshold
        whole = self._of(found, done[0], bar)
        if not self.subsamples:
            return whole
        each = [self._of(found, p, bar) for p in done[1:]]
        frequencies = np.stack([np.zeros_like(whole.adjacent)] * 4, -1)
        frequencies[..., 3] = np.mean([one.graph.skeleton for one in each], 0)
        frequencies[..., 0] = 1 - frequencies[..., 3]
        return replace(whole, spread=np.std([one.adjacent for one in each], 0), frequencies=frequencies)

    def forget(self, run: Run) -> None:
        """See `Discoverer.forget`."""
        run.drop_state("subsamples")

    def _of(self, table: Table, p: Any, bar: float) -> Discovery:
        d, places = len(table.all_names), [table.all_names.index(name) for name in table.names]
        adjacent, marks = np.zeros((d, d)), np.zeros((d, d, 3))
        adjacent[np.ix_(places, places)] = np.clip((p + p.T) / 2, 0, 1)
        np.fill_diagonal(adjacent, 0)
        marks[..., 2] = 0.8
        marks[..., :2] = 0.1
        root, edges = list(range(d)), []
        for i, j in sorted(zip(*np.triu_indices(d, 1), strict=True), key=lambda e: -adjacent[e]):
            if adjacent[i, j] > bar and root[i] != root[j]:
                root = [root[i] if r == root[j] else r for r in root]
                edges.append((table.all_names[i], "---", table.all_names[j]))
        graph = Graph.of("CPDAG", table.all_names, edges)
        s = graph.skeleton
        triples = [
            (k, i, j) for k in range(d) for i in range(d) for j in range(i) if s[k, i] and s[k, j] and not s[i, j]
        ]
        return Discovery(
            method=self.name, graph=graph, adjacent=adjacent, marks=marks,
            triples=np.array(triples, int).reshape(-1, 3), colliders=np.full(len(triples), 0.2), ood_score=0.0,
            duplicates=table.duplicates, isolated=table.isolated, warnings=table.warnings, rows=len(table.values),
            seconds=0.1,
        )  # fmt: skip
