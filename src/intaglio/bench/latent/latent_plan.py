"""The plan of a run of `intaglio bench latent`: what is measured, one after another, and the figures of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from intaglio.bench.discover.bench import packages
from intaglio.bench.discover.entries import Entry
from intaglio.bench.latent.changing import ChangingCell, changing_figures
from intaglio.bench.latent.pag_figures import blocks, headline
from intaglio.bench.latent.pag_search import answers_of, search_tables
from intaglio.bench.latent.pag_tables import PagCell
from intaglio.bench.latent.step_times import measured_at
from intaglio.runs.machine import machine, versions
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan

CELLS = tuple(ChangingCell(domains=domains) for domains in (10, 20, 0))
"""Kinds of tables whose mechanisms change: ten domains, twenty, and a drift."""
SPEEDUP_COLUMNS, SPEEDUP_ROWS = 50, 1000
"""Size of the table whose step's ratio is a headline."""


@dataclass(frozen=True)
class LatentPlan:
    """Contents of a run: steps, tables whose mechanisms change, and tables with known PAGs."""

    columns: Sequence[int]
    """Numbers of columns of the steps; none without that suite."""
    rows: int
    restarts: int
    repeats: int
    tables: int
    """Tables of each kind whose mechanisms change; 0 without that suite."""
    searches: bool
    """Whether tables with known PAGs are searched."""
    entries: tuple[Entry, ...]
    """Methods that search them."""
    cells: tuple[PagCell, ...]
    """Kinds of these tables."""
    left_out: dict[str, str]
    """Methods and suites that cannot run here, with the reasons."""
    limit: float
    """Seconds of one search."""

    def settings(self) -> dict[str, Any]:
        """The settings that name the run; without searches they are those of runs from before there were any."""
        names = ("columns", "rows", "restarts", "repeats", "tables")
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.searches:
            found["cells"] = {cell.key: cell.tables for cell in self.cells}
            found["methods"] = {entry.name: dict(entry.settings) for entry in self.entries}
            found |= {"limit": self.limit, "packages": packages()}
        return found

    def measure(self, run: Run, seed: int) -> None:
        """Records what is not yet recorded: `columns`, `changing`, and what `search_tables` does."""
        cells = CELLS if self.tables else ()
        if self.columns or cells:
            self._measure_steps(run, cells, seed)
        if self.searches:
            search_tables(run, self.cells, self.entries, self.limit, seed)

    def _measure_steps(self, run: Run, cells: Sequence[ChangingCell], seed: int) -> None:
        """Steps, and tables whose mechanisms change."""
        done, known = run.recorded("columns"), run.recorded("changing")
        with run.progress(len(self.columns) + len(cells), "measurements", len(done) + len(known)) as shown:
            for d in self.columns:
                if str(d) not in done:
                    measured = measured_at(d, self.rows, self.restarts, self.repeats, seed)
                    run.record("columns", str(d), without_nan(measured))
                    shown.advance()
            for cell in cells:
                if cell.key not in known:
                    run.record("changing", cell.key, changing_figures([cell], self.tables, seed=seed)[cell.key])
                    shown.advance()

    def figures(self, run: Run) -> dict[str, Any]:
        """The figures by name, from the records."""
        steps = {f"{d} columns": run.recorded("columns")[str(d)] for d in self.columns}
        found = {**self._searched(run, steps), **steps}
        found |= {"changing": run.recorded("changing")} if self.tables else {}
        found |= {"rows": self.rows, "restarts": self.restarts, "tables": self.tables, "seconds": run.seconds}
        return {**found, "machine": machine(), "versions": versions() | (packages() if self.searches else {})}

    def _searched(self, run: Run, steps: dict[str, Any]) -> dict[str, Any]:
        if not self.searches:
            return {}
        answers, facts, posteriors = answers_of(run, self.entries), run.recorded("table"), run.recorded("posterior")
        ratio = steps.get(f"{SPEEDUP_COLUMNS} columns", {}).get("step_ratio") if self.rows == SPEEDUP_ROWS else None
        simulated = {key: fact for key, fact in facts.items() if fact["suite"] == "simulated"}
        networks = {key: fact for key, fact in facts.items() if fact["suite"] == "networks"}
        return {
            **headline(answers, facts, self.limit, ratio),
            "by_variables": blocks(answers, simulated, posteriors, "variables"),
            "by_network": blocks(answers, networks, posteriors, "source"),
            "cells": blocks(answers, facts, posteriors, "cell"),
            "limit": self.limit,
            "left_out": self.left_out,
        }
