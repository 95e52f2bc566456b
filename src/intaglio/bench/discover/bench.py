"""`intaglio bench discover`: ways from a table to a causal graph, side by side on the same tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import intaglio.causal
from intaglio.bench.discover.contenders import Contender, chosen
from intaglio.bench.discover.figures import figures, tables
from intaglio.bench.discover.processes import ENOUGH, Crew, Patience
from intaglio.bench.discover.published_networks import files, published
from intaglio.bench.discover.scores import binned, scored
from intaglio.bench.discover.suites import FIRST_SEED, Cell, SuiteName, Task, networks, simulated, tasks
from intaglio.errors import BadInput
from intaglio.files import file_hash
from intaglio.runs.machine import machine, versions
from intaglio.runs.plain import digest
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
PACKAGES = ("causal-learn", "dagma", "gcastle", "pgmpy", "scipy", "pandas")


@dataclass(frozen=True)
class DiscoverBench:
    """Ask every method for the causal graph of the same tables, and rank what they say.

    Truth and answers are CPDAGs; a DAG is mapped to its class first. On each table methods are ranked by skeleton F1,
    by the F1 of directed edges and by SHD, equal ones sharing the mean of their places and failures the last; a
    method's mean rank is the mean of the three, then over its tables, each weighing the same. Every variant of a
    method is a method. `best_peer` is the one of best mean rank that is not ours, sees what ours sees and was asked
    about all tables: one configuration everywhere, not the best of each table. F1 is 1 where truth and answer are both
    empty, and `undefined` counts those. Each method answers in a process of its package's own, on one thread and within
    a limit; times leave imports and a first call out, are medians of three where they are short, and methods take turns
    at being first. `ece` is over the tables of families that the shipped networks were trained on.
    """

    quick: bool = False
    """Few tables of 10 and 20 columns, and no slow methods; minutes in place of hours."""
    suites: tuple[Literal["simulated", "bnlearn", "gaussian", "sachs"], ...] = ()
    """none takes all (without gaussian with --quick)."""
    methods: tuple[str, ...] = ()
    """By name; none takes all that are installed."""
    families: tuple[str, ...] = ()
    """Of simulated graphs; none takes er, sf, ws, sbm and grg. `parts` cuts them from a published network."""
    mechanisms: tuple[Literal["linear", "rff"], ...] = ("linear", "rff")
    """Of simulated tables."""
    variables: tuple[int, ...] = ()
    """Columns of simulated tables; none takes 10, 20, 30 and 50 (10 and 20 with --quick)."""
    rows: tuple[int, ...] = ()
    """Of simulated tables; none takes 200, 500 and 1000 (500 with --quick)."""
    graphs: int | None = None
    """Tables of each simulated cell, each with a graph of its own; none takes 2 (1 with --quick)."""
    noise: Literal["gaussian", "mixed"] = "gaussian"
    """Of simulated tables; `mixed` draws the simulator's families of noise."""
    networks: tuple[str, ...] = ()
    """Published ones, discrete or Gaussian; none takes ten of at most 46 columns (asia with --quick)."""
    network_rows: tuple[int, ...] = ()
    """Sampled from published networks; none takes 200, 1000 and 5000 (1000 with --quick)."""
    samples: int | None = None
    """Tables of each network and number of rows, of Sachs too; none takes 2 (1 with --quick)."""
    sachs_csv: Path | None = None
    """Sachs's own measurements, 853 rows or more; asked about as they are and as logarithms."""
    limit: float = 60.0
    """Seconds that a method has for one table; more is a failure, and after three it is asked about none as wide."""
    seed: int = 0
    """Of the tables; they begin where no training's do."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

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
        """Measure; the figures by name, and beside them every method, suite and cell."""
        wanted = chosen(self.methods, self.quick)
        contenders = tuple(contender for contender in wanted if contender.missing is None)
        left_out = {c.name: reason for c in wanted if (reason := c.missing) is not None}
        if not contenders:
            raise BadInput(f"none of the methods can run here: {'; '.join(f'{n}: {r}' for n, r in left_out.items())}")
        cells, absent = self._cells()
        settings = {
            "cells": {cell.key: cell.tables for cell in cells},
            "noise": self.noise,
            "limit": self.limit,
            "methods": {c.name: dict(c.settings) for c in contenders},
            "packages": packages(),
        }
        inputs = {"causal": {"path": "intaglio.causal", "sha256": fingerprint()}}
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
                self._measure(run, cells, contenders)
                run.finish(without_nan(self._figures(run, contenders, left_out | absent)))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The figures as tables."""
        return tables(figures)

    def _cells(self) -> tuple[list[Cell], dict[str, str]]:
        """The cells of the chosen suites, and why a suite is left out."""
        quick: tuple[SuiteName, ...] = ("simulated", "bnlearn", "sachs")
        usual: tuple[SuiteName, ...] = ("simulated", "bnlearn", "gaussian", "sachs")
        suites = self.suites or (quick if self.quick else usual)
        found: list[Cell] = []
        if "simulated" in suites:
            graphs = self.graphs or (QUICK_GRAPHS if self.quick else GRAPHS)
            sizes = self.variables or (QUICK_VARIABLES if self.quick else VARIABLES)
            rows = self.rows or (QUICK_ROWS if self.quick else ROWS)
            found += simulated(self.families or FAMILIES, self.mechanisms, sizes, rows, graphs)
        others: list[SuiteName] = [suite for suite in suites if suite != "simulated"]
        if others and files() is None:
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

    def _measure(self, run: Run, cells: Sequence[Cell], contenders: Sequence[Contender]) -> None:
        known = run.recorded("answer")
        total = sum(cell.tables for cell in cells) * len(contenders)
        with run.progress(total, "answers", len(known)) as progress, Crew(self.limit) as crew:
            every = (task for cell in cells for task in tasks(cell, self.seed, self.noise, self.sachs_csv))
            patience = Patience()
            for turn, task in enumerate(every):
                run.record("table", task.key, without_nan(about(task)))
                given: dict[str, Any] = {}
                for contender in by_turns(contenders, turn, task.sheet.discrete):
                    key = f"{task.key} | {contender.name}"
                    if (answer := known.get(key)) is None:
                        answer = self._answer(crew, contender, task, patience, given)
                        run.record("answer", key, answer)
                        progress.advance()
                    given[contender.name] = answer
                    patience.note(task.cell.suite, contender.name, task.cell.variables, answer)

    def _answer(
        self, crew: Crew, contender: Contender, task: Task, patience: Patience, given: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """A twin's answer to the same table, no answer where too many came late, or the method's own."""
        if task.sheet.discrete and contender.twin in given:
            return given[contender.twin]
        if patience.spent(task.cell.suite, contender.name, task.cell.variables):
            return {"failure": f"not asked: {ENOUGH} answers too late before", "timeout": self.limit}
        return without_nan(judged(crew, contender, task))

    def _figures(self, run: Run, contenders: Sequence[Contender], left_out: Mapping[str, str]) -> dict[str, Any]:
        facts, results, not_asked = run.recorded("table"), {}, {}
        for key, answer in run.recorded("answer").items():
            table, _, name = key.partition(" | ")
            if "not_asked" in answer:
                not_asked[name] = answer["not_asked"]
            else:
                results.setdefault(table, {})[name] = answer
        return {
            **figures(results, facts, contenders),
            "noise": self.noise,
            "limit": self.limit,
            "first_seed": FIRST_SEED + self.seed,
            "seconds": run.seconds,
            "left_out": dict(left_out),
            "not_asked": not_asked,
            "machine": machine(),
            "versions": versions() | packages(),
        }


def by_turns(contenders: Sequence[Contender], turn: int, discrete: bool) -> list[Contender]:
    """In the order of the table's turn, each of them first once in a while; on levels twins after the others."""
    first = turn % len(contenders)
    order = [*contenders[first:], *contenders[:first]]
    return sorted(order, key=lambda contender: bool(contender.twin)) if discrete else order


def judged(crew: Crew, contender: Contender, task: Task) -> dict[str, Any]:
    """What a method's answer is worth and took; `failure` or `not_asked` with the reason in place of it."""
    if task.sheet.discrete and contender.only_numbers:
        return {"not_asked": f"not asked about levels, since {contender.only_numbers}"}
    said = crew.ask(contender, task.sheet)
    if "failure" in said:
        return said
    times = sorted(said["times"])
    found = scored(task.truth, said["marks"])
    found |= {"seconds": times[len(times) // 2], "fastest": times[0], "slowest": times[-1], "timings": len(times)}
    return found if said["adjacent"] is None else found | {"bins": binned(task.truth, said["adjacent"])}


def about(task: Task) -> dict[str, Any]:
    """What is to be known of a table."""
    cell = task.cell
    return {
        "cell": cell.key,
        "suite": cell.suite,
        "source": cell.source,
        "law": cell.law,
        "seen": cell.seen,
        "variables": cell.variables,
        "rows": cell.rows,
        "edges": len(task.truth.edges),
        "colliders": len(task.truth.colliders),
        "varsortability": task.varsortability,
        "r2_sortability": task.r2_sortability,
    }


def packages() -> dict[str, str | None]:
    """Versions of what the peers come from; None where one is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def fingerprint() -> str:
    """Of our own methods: their code and the networks that are shipped with it."""
    folder = Path(intaglio.causal.__path__[0])
    kept = [path for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".json", ".safetensors")]
    return digest({str(path.relative_to(folder)): file_hash(path) for path in kept})
