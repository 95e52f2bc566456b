"""`intaglio bench discover`: methods of causal discovery, side by side on the same tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import intaglio.causal
from intaglio.bench.discover.entries import Entry, select
from intaglio.bench.discover.figures import figures, tables
from intaglio.bench.discover.processes import MAX_TIMEOUTS, TimeoutPolicy, WorkerPool
from intaglio.bench.discover.published_networks import networks_folder, published
from intaglio.bench.discover.scores import binned, scored
from intaglio.bench.discover.suites import FIRST_SEED, Cell, SuiteName, Task, broken, networks, simulated, tasks
from intaglio.errors import BadInput
from intaglio.files import file_hash
from intaglio.runs.machine import machine, versions
from intaglio.runs.plain_json import digest
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan

FAMILIES = ("er", "sf", "ws", "sbm", "grg")
VARIABLES, ROWS, GRAPHS = (10, 20, 30, 50), (200, 500, 1000), 2
QUICK_VARIABLES, QUICK_ROWS, QUICK_GRAPHS = (10, 20), (500,), 1
NETWORKS = ("cancer", "earthquake", "survey", "asia", "child", "insurance", "water", "alarm", "magic-niab", "ecoli70")
QUICK_NETWORKS = ("asia",)
NETWORK_ROWS, SAMPLES, SACHS_ROWS = (200, 1000, 5000), 2, (853, 5000)
QUICK_NETWORK_ROWS, QUICK_SAMPLES, QUICK_SACHS_ROWS = (1000,), 1, (853,)
BROKEN_VARIABLES, BROKEN_ROWS = (5, 10, 20, 30), (200, 600, 3000)
BROKEN_GRAPHS = 1
QUICK_BROKEN_VARIABLES, QUICK_BROKEN_ROWS = (5, 8), (300,)
PEER_PACKAGES = ("causal-learn", "dagma", "gcastle", "pgmpy", "scipy", "pandas")


@dataclass(frozen=True)
class DiscoverBench:
    """Find the causal graphs of the same tables by every method, and rank the methods.

    True and estimated graphs are compared as CPDAGs; a DAG is mapped to its class first. On each table methods are
    ranked by skeleton F1, by the F1 of directed edges and by SHD; ties get the mean rank, failures rank last. A
    method's mean rank is the mean of the three ranks, then the mean over its tables. Each variant of a method is ranked
    as a method. `best_peer` is the method of another package or baseline with the best mean rank, among those that are
    given standardised numbers and ran on all tables: one configuration for all tables, not the best of each. F1 is 1
    where true and estimated graph are both empty; `undefined` counts these. Each package runs in a process of its own,
    on one thread, within a time limit. Times exclude imports and a warm-up call, short ones are medians of three, and
    methods take turns at running first. `ece` (expected calibration error) is over tables from the families of graphs
    that the shipped networks were trained on.

    The suite `broken` has tables that break an assumption of causal discovery and, from the same graphs and mechanisms,
    sound twins that do not. Methods of other packages get the rows without gaps. `ood_auc` is the area under the ROC of
    SiCL's unlikeness for the tables, of both kinds, on which its SHD is above the empty graph's, `ood_auc_broken` that
    for the broken ones; `worse_than_empty` are the families of broken tables on which its mean SHD is above it.
    """

    quick: bool = False
    """Few tables of 10 and 20 columns, without slow methods; minutes instead of hours."""
    suites: tuple[Literal["simulated", "bnlearn", "gaussian", "sachs", "broken"], ...] = ()
    """Groups of tables; none takes all but broken (without gaussian with --quick). `broken` are tables that break an
    assumption, each beside a sound twin."""
    methods: tuple[str, ...] = ()
    """Names of methods; none takes all that are installed."""
    families: tuple[str, ...] = ()
    """Families of simulated graphs; none takes er, sf, ws, sbm and grg. `parts` are parts of a published network."""
    breaks: tuple[str, ...] = ()
    """Families of broken tables: dependent-rows, repeated-rows, dependent-gaps, common-factor, cell-types, rare-events;
    none takes all."""
    mechanisms: tuple[Literal["linear", "rff"], ...] = ("linear", "rff")
    """Mechanisms of simulated tables: linear, or random Fourier features."""
    variables: tuple[int, ...] = ()
    """Numbers of columns of simulated tables; none takes 10, 20, 30 and 50 (10 and 20 with --quick). Of broken ones
    too; none takes 5, 10, 20 and 30 (5 and 8)."""
    rows: tuple[int, ...] = ()
    """Numbers of rows of simulated tables; none takes 200, 500 and 1000 (500 with --quick). Of broken ones too; none
    takes 200, 600 and 3000 (300)."""
    graphs: int | None = None
    """Tables of each simulated or broken cell, each with a graph of its own; none takes 2 (1 with --quick; 1 of broken
    ones)."""
    noise: Literal["gaussian", "mixed"] = "gaussian"
    """Noise of simulated tables; `mixed` draws from all families of noise of the simulator."""
    networks: tuple[str, ...] = ()
    """Published Bayesian networks, discrete or Gaussian; none takes ten of at most 46 columns (asia with --quick)."""
    network_rows: tuple[int, ...] = ()
    """Numbers of rows that are sampled from published networks; none takes 200, 1000 and 5000 (1000 with --quick)."""
    samples: int | None = None
    """Tables for each network (Sachs too) and number of rows; none takes 2 (1 with --quick)."""
    sachs_csv: Path | None = None
    """CSV of Sachs's measurements, 853 rows or more; searched as they are and as logarithms."""
    limit: float = 60.0
    """Seconds for one table; longer is a failure, and after three a method is not run on tables as wide any more."""
    seed: int = 0
    """Seed of the tables; no training uses the same stream."""
    runs: Path = Path("runs")
    """Folder of runs; the same command resumes a killed one."""

    def __post_init__(self) -> None:
        for name in ("graphs", "samples"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        for name, least in (("variables", 2), ("rows", 10), ("network_rows", 10)):
            if (values := getattr(self, name)) and min(values) < least:
                raise ValueError(f"{name} must be at least {least}: {values}")
        if not self.limit > 0:
            raise ValueError(f"limit must be above 0 seconds, not {self.limit}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Runs the bench; returns the figures by name, with every method, suite and cell."""
        wanted = select(self.methods, self.quick)
        entries = tuple(entry for entry in wanted if entry.missing is None)
        left_out = {c.name: reason for c in wanted if (reason := c.missing) is not None}
        if not entries:
            raise BadInput(f"none of the methods can run here: {'; '.join(f'{n}: {r}' for n, r in left_out.items())}")
        cells, absent = self._cells()
        settings = {
            "cells": {cell.key: cell.tables for cell in cells},
            "noise": self.noise,
            "limit": self.limit,
            "methods": {c.name: dict(c.settings) for c in entries},
            "packages": packages(),
        }
        inputs = {"causal": {"path": "intaglio.causal", "sha256": own_fingerprint()}}
        if self.sachs_csv is not None:
            inputs["sachs"] = {"path": str(self.sachs_csv), "sha256": file_hash(self.sachs_csv)}
        run = Run.open(
            self.runs,
            "bench",
            "discover",
            settings,
            inputs,
            seed=self.seed,
            device="cpu",
            command=command,
            progress=progress,
        )
        with run:
            if run.status != "done":
                self._measure(run, cells, entries)
                run.finish(without_nan(self._figures(run, entries, left_out | absent)))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The figures as text tables."""
        return tables(figures)

    def _cells(self) -> tuple[list[Cell], dict[str, str]]:
        """The cells of the selected suites, and the reason for each suite that is left out."""
        quick: tuple[SuiteName, ...] = ("simulated", "bnlearn", "sachs")
        usual: tuple[SuiteName, ...] = ("simulated", "bnlearn", "gaussian", "sachs")
        suites = self.suites or (quick if self.quick else usual)
        found: list[Cell] = []
        if "simulated" in suites:
            graphs = self.graphs or (QUICK_GRAPHS if self.quick else GRAPHS)
            sizes = self.variables or (QUICK_VARIABLES if self.quick else VARIABLES)
            rows = self.rows or (QUICK_ROWS if self.quick else ROWS)
            found += simulated(self.families or FAMILIES, self.mechanisms, sizes, rows, graphs)
        if "broken" in suites:
            sizes = self.variables or (QUICK_BROKEN_VARIABLES if self.quick else BROKEN_VARIABLES)
            rows = self.rows or (QUICK_BROKEN_ROWS if self.quick else BROKEN_ROWS)
            found += broken(self.breaks, sizes, rows, self.graphs or BROKEN_GRAPHS)
        others: list[SuiteName] = [suite for suite in suites if suite not in ("simulated", "broken")]
        if others and networks_folder() is None:
            return found, dict.fromkeys(others, "its networks come with pgmpy below 1.3: pip install pgmpy")
        return found + [cell for suite in others for cell in self._published(suite)], {}

    def _published(self, suite: SuiteName) -> list[Cell]:
        samples = self.samples or (QUICK_SAMPLES if self.quick else SAMPLES)
        if suite == "sachs":
            rows = QUICK_SACHS_ROWS if self.quick else SACHS_ROWS
            laws = ("raw", "log") if self.sachs_csv is not None else ()
            measured = [Cell("sachs", "sachs", law, 11, SACHS_ROWS[0], 1) for law in laws]
            return networks(("sachs",), "sachs", rows, samples) + measured
        names = self.networks or (QUICK_NETWORKS if self.quick else NETWORKS)
        fitting = [name for name in names if published(name).discrete == (suite == "bnlearn")]
        rows = self.network_rows or (QUICK_NETWORK_ROWS if self.quick else NETWORK_ROWS)
        return networks(fitting, suite, rows, samples)

    def _measure(self, run: Run, cells: Sequence[Cell], entries: Sequence[Entry]) -> None:
        known = run.recorded("answer")
        total = sum(cell.tables for cell in cells) * len(entries)
        with run.progress(total, "answers", len(known)) as progress, WorkerPool(self.limit) as pool:
            every = (task for cell in cells for task in tasks(cell, self.seed, self.noise, self.sachs_csv))
            timeouts = TimeoutPolicy()
            for turn, task in enumerate(every):
                run.record("table", task.key, without_nan(table_facts(task)))
                given: dict[str, Any] = {}
                for entry in in_turn(entries, turn, task.table.discrete):
                    key = f"{task.key} | {entry.name}"
                    if (answer := known.get(key)) is None:
                        answer = self._answer(pool, entry, task, timeouts, given)
                        run.record("answer", key, answer)
                        progress.advance()
                    given[entry.name] = answer
                    timeouts.note(task.cell.suite, entry.name, task.cell.variables, answer)

    def _answer(
        self, pool: WorkerPool, entry: Entry, task: Task, timeouts: TimeoutPolicy, given: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The method's answer; its twin's on levels, and none after too many timeouts."""
        if task.table.discrete and entry.twin in given:
            return given[entry.twin]
        if timeouts.exhausted(task.cell.suite, entry.name, task.cell.variables):
            return {"failure": f"not asked: {MAX_TIMEOUTS} answers too late before", "timeout": self.limit}
        return without_nan(evaluated(pool, entry, task))

    def _figures(self, run: Run, entries: Sequence[Entry], left_out: Mapping[str, str]) -> dict[str, Any]:
        facts, results, not_asked = run.recorded("table"), {}, {}
        for key, answer in run.recorded("answer").items():
            table, _, name = key.partition(" | ")
            if "not_asked" in answer:
                not_asked[name] = answer["not_asked"]
            else:
                results.setdefault(table, {})[name] = answer
        return {
            **figures(results, facts, entries),
            "noise": self.noise,
            "limit": self.limit,
            "first_seed": FIRST_SEED + self.seed,
            "seconds": run.seconds,
            "left_out": dict(left_out),
            "not_asked": not_asked,
            "machine": machine(),
            "versions": versions() | packages(),
        }


def in_turn(entries: Sequence[Entry], turn: int, discrete: bool) -> list[Entry]:
    """The entries rotated by the number of the table; on levels those with a twin come last."""
    first = turn % len(entries)
    order = [*entries[first:], *entries[:first]]
    return sorted(order, key=lambda entry: bool(entry.twin)) if discrete else order


def evaluated(pool: WorkerPool, entry: Entry, task: Task) -> dict[str, Any]:
    """Scores and times of a method's answer; or `failure` or `not_asked` with the reason."""
    if task.table.discrete and entry.only_numbers:
        return {"not_asked": f"not asked about levels, since {entry.only_numbers}"}
    answer = pool.ask(entry, task.table)
    if "failure" in answer:
        return answer
    times = sorted(answer["times"])
    found = scored(task.truth, answer["marks"])
    found |= {"seconds": times[len(times) // 2], "fastest": times[0], "slowest": times[-1], "timings": len(times)}
    if answer.get("ood_score") is not None:
        found["ood_score"] = answer["ood_score"]
    return found if answer["adjacent"] is None else found | {"bins": binned(task.truth, answer["adjacent"])}


def table_facts(task: Task) -> dict[str, Any]:
    """The facts of a table that figures are grouped by."""
    cell = task.cell
    return {
        "cell": cell.key,
        "suite": cell.suite,
        "source": cell.source,
        "law": cell.law,
        "seen": cell.seen,
        "sound": cell.sound,
        "variables": cell.variables,
        "rows": len(task.table.values),
        "edges": len(task.truth.edges),
        "colliders": len(task.truth.colliders),
        "varsortability": task.varsortability,
        "r2_sortability": task.r2_sortability,
    }


def packages() -> dict[str, str | None]:
    """Versions of the peers' packages; None where one is not installed."""
    found: dict[str, str | None] = {}
    for name in PEER_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def own_fingerprint() -> str:
    """Hash of the package's own methods: their code and the shipped networks."""
    folder = Path(intaglio.causal.__path__[0])
    kept = [path for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".json", ".safetensors")]
    return digest({str(path.relative_to(folder)): file_hash(path) for path in kept})
