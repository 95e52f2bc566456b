"""`intaglio bench latent`: a step of ABIC beside its plain formulation, and CD-NOD beside its peers."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from intaglio.bench.latent.changing import ChangingCell, changing_figures
from intaglio.bench.latent.plain_abic import plain_gradients, pseudo_variables
from intaglio.causal.confounding.gram_loss import error_precision, least_squares_gradients
from intaglio.causal.confounding.penalties import violation_gradients
from intaglio.randomness import generator
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan

WEIGHT = 10.0
"""α of the measured steps."""
QUICK_COLUMNS, QUICK_REPEATS, QUICK_TABLES = (5, 10), 3, 2
CELLS = tuple(ChangingCell(domains=domains) for domains in (10, 20, 0))
"""Kinds of tables whose mechanisms change: ten domains, twenty, and a drift."""


@dataclass(frozen=True)
class LatentBench:
    """A step of ABIC beside its plain formulation, and CD-NOD beside its peers.

    A step is the value of least squares + α h of the ancestral class with its gradients; a round begins with what its
    steps share, the inverse of the errors' covariance or all pseudo-variables. Times are those of one restart: here all
    restarts take a step at once, in the plain formulation one after another. Times are medians, ratios those of the
    medians; `largest_difference` is that of the gradients, over the largest entry.

    Tables whose mechanisms change are searched by CD-NOD, by PC on all rows with a coin for what it leaves open, and by
    causal-learn's CD-NOD where it is installed.
    """

    quick: bool = False
    """5 and 10 columns, 3 timings, 2 tables of each kind: less than a minute."""
    columns: tuple[int, ...] = (10, 20, 50)
    """Numbers of columns, each 2 or more."""
    rows: int = 1000
    """Number of rows, 2 or more."""
    restarts: int = 5
    """Restarts that take a step at once, 1 or more."""
    repeats: int = 20
    """Timings of each, 1 or more."""
    tables: int = 20
    """Tables of each kind whose mechanisms change, 0 or more; 0 leaves CD-NOD out."""
    seed: int = 0
    """Seed of the values and of the first table."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        for name, least in (("rows", 2), ("restarts", 1), ("repeats", 1), ("tables", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not self.columns or min(self.columns) < 2:
            raise ValueError(f"columns must be numbers of 2 or more, not {self.columns}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; the figures by name, those of each number of columns under it."""
        columns, repeats = (QUICK_COLUMNS, QUICK_REPEATS) if self.quick else (self.columns, self.repeats)
        tables = min(QUICK_TABLES, self.tables) if self.quick else self.tables
        settings = {
            "columns": columns,
            "rows": self.rows,
            "restarts": self.restarts,
            "repeats": repeats,
            "tables": tables,
        }
        with Run.open(
            self.runs, "bench", "latent", settings, {}, seed=self.seed, device="cpu", command=command, progress=progress
        ) as run:
            if run.status != "done":
                self._measure(run, columns, repeats, tables)
                found = {f"{d} columns": run.recorded("columns")[str(d)] for d in columns}
                about = {"rows": self.rows, "restarts": self.restarts, "tables": tables, "seconds": run.seconds}
                changing = {"changing": run.recorded("changing")} if tables else {}
                run.finish({**found, **changing, **about, "machine": machine(), "versions": versions()})
            return run.summary

    def _measure(self, run: Run, columns: Sequence[int], repeats: int, tables: int) -> None:
        cells = CELLS if tables else ()
        done, known = run.recorded("columns"), run.recorded("changing")
        with run.progress(len(columns) + len(cells), "measurements", len(done) + len(known)) as shown:
            for d in columns:
                if str(d) not in done:
                    measured = measured_at(d, self.rows, self.restarts, repeats, self.seed)
                    run.record("columns", str(d), without_nan(measured))
                    shown.advance()
            for cell in cells:
                if cell.key not in known:
                    run.record("changing", cell.key, changing_figures([cell], tables, seed=self.seed)[cell.key])
                    shown.advance()

    def summary(self, figures: Mapping[str, Any]) -> str:
        """One line a number of columns."""
        part = f" {{:>10}} {'plain':>10} {'ratio':>7}"
        lines = [f"{'':>12}{part.format('step')}{part.format('round')} {'differ':>9}"]
        for name, of in figures.items():
            if isinstance(of, Mapping) and "step_seconds" in of:
                times = "".join(
                    f" {1e3 * of[f'{part}_seconds']:>7.3f} ms {1e3 * of[f'plain_{part}_seconds']:>7.2f} ms"
                    f" {of[f'{part}_ratio']:>7.1f}"
                    for part in ("step", "round")
                )
                lines.append(f"{name:>12}{times} {of['largest_difference']:>9.1e}")
        for cell, methods in figures.get("changing", {}).items():
            lines += ["", cell]
            lines += [
                f"{name:>24}{''.join(_cell(head, value) for head, value in of.items())}" for name, of in methods.items()
            ]
        return "\n".join(lines)


def _cell(head: str, value: float | None) -> str:
    return f"  {head.replace('_', ' ')} {'-' if value is None else f'{value:.3f}'}"


def measured_at(d: int, n: int, restarts: int, repeats: int, seed: int) -> dict[str, float]:
    """Seconds of a step and of a round's beginning, both ways, their ratios, and the difference of the gradients."""
    rows, *point = values(d, n, seed)
    arrows, doubles, before, variances = point
    covariance, errors = rows.T @ rows / n, doubles + torch.diag(variances)
    many_arrows, many_doubles, many_before, many_variances = (part.expand(restarts, *part.shape) for part in point)
    precision, pseudo = error_precision(many_doubles, many_variances), pseudo_variables(rows, before, errors)

    def step() -> tuple[Tensor, Tensor]:
        fit = least_squares_gradients(covariance, many_arrows, many_doubles, many_before, precision)
        h = violation_gradients(many_arrows, many_doubles, "ancestral")
        return fit[1] + WEIGHT * h[1], fit[2] + WEIGHT * h[2]

    calls: dict[str, Callable[[], Any]] = {
        "step": step,
        "plain_step": lambda: plain_gradients(rows, pseudo, arrows, doubles, WEIGHT),
        "round": lambda: error_precision(many_doubles, many_variances),
        "plain_round": lambda: pseudo_variables(rows, before, errors),
    }
    seconds = timed(calls, repeats)
    found = {f"{name}_seconds": value / (1 if "plain" in name else restarts) for name, value in seconds.items()}
    for part in ("step", "round"):
        found[f"{part}_ratio"] = found[f"plain_{part}_seconds"] / found[f"{part}_seconds"]
    plain = plain_gradients(rows, pseudo, arrows, doubles, WEIGHT)[1:]
    pairs = zip((part[0] for part in step()), plain, strict=True)
    return {**found, "largest_difference": max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)}


def values(d: int, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Centred rows [n, d], B, W, B₀ [d, d] and ω [d] of the size that they have in a search."""
    source = generator(seed, "bench latent", d, n)
    rows = torch.randn(n, d, generator=source, dtype=torch.float64)
    rows = (rows - rows.mean(0)) / rows.std(0)
    drawn = torch.rand(3, d, d, generator=source, dtype=torch.float64) - 0.5
    arrows, before = drawn[:2] * (1 - torch.eye(d, dtype=torch.float64)) / d**0.5
    lower = (drawn[2] / (2 * d)).tril(-1)
    return rows, arrows, lower + lower.T, before, torch.ones(d, dtype=torch.float64)


def timed(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median wall seconds of each call, taken by turns after a first turn that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - began)
    return {name: median(seconds) for name, seconds in times.items()}
