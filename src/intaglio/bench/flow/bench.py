"""`intaglio bench flow`: decoders of a flow, side by side on the same latents."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from intaglio.bench.flow.cell import FlowCell, TierOrPaper
from intaglio.flow.block.guidance import Guidance
from intaglio.models.flow.shipped import open_flow
from intaglio.models.flow.tarflow_files import LoadedFlow
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan

BATCHES, GUIDANCES, REPEATS = (1, 8, 64), (0.0, 2.0), 10
QUICK_BATCHES, QUICK_GUIDANCES, QUICK_REPEATS = (1, 8, 64), (0.0,), 7
QUICK_THREADS = 1
"""Threads under --quick, whose passes are too small to gain by more, and lose much where a core is not idle."""
GUIDED_BATCH = 8
"""The batch that guided cells are measured at, where neither batches nor guidances are asked for."""
SUFFIX = {8: "", 1: "_b1", 64: "_b64"}
"""Ending of the headline figures' names, by batch."""


@dataclass(frozen=True)
class FlowBench:
    """Flow decoders side by side on the same latents: time and error.

    Every decoder is timed by turns with the others, at several batches, guidances and tiers of error. Each method's
    settings are chosen on other latents, as the fastest that keep to the tier there, so that headline speeds are
    compared at equal error; `paper` is each method as published (SeJD and uniform Jacobi at tau 0.5, GS-Jacobi with
    its hardest block in eight segments and ten sweeps elsewhere), whatever the error. Times are medians, speeds medians
    of ratios within a turn; errors are against patch-by-patch decoding, in [-1, 1], before denoising. `ratio_to_floor`
    is the time over that of one pass of every block, the least that a verified answer takes.
    """

    quick: bool = False
    """The smallest model, unguided, the tiers near and paper, seven timings, one thread: some four minutes."""
    model: str | None = None
    """A flow by name or folder; none takes cpu-small (cpu-tiny with --quick)."""
    batches: tuple[int, ...] = ()
    """Pictures decoded at once; none takes 1, 8 and 64."""
    guidances: tuple[float, ...] = ()
    """Guidance scales; none takes 0, and 2 at the batch of 8 (0 with --quick)."""
    tiers: tuple[Literal["exact", "near", "paper"], ...] = ()
    """Errors to keep to; none takes all three (near and paper with --quick)."""
    repeats: int | None = None
    """Timings of each method; none takes 10 (7 with --quick)."""
    threads: int | None = None
    """Threads of the processor; none takes as many as it has cores (1 with --quick). Several threads want as many idle
    cores: in small passes each waits for the slowest, and beside other work they take many times as long as one."""
    busy: int = 0
    """Processes that compute beside the bench, each with one thread; as many as the machine has cores leave it none."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights."""
    seed: int = 0
    """Seed of the latents."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.repeats is not None and self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, not {self.repeats}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")
        if self.busy < 0:
            raise ValueError(f"busy must be at least 0, not {self.busy}")
        if self.batches and min(self.batches) < 1:
            raise ValueError(f"batches must be at least 1: {self.batches}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; the figures by name, and every cell's under `cells`."""
        flow = open_flow(
            self.model or ("cpu-tiny" if self.quick else "cpu-small"), device=self.device, dtype=self.dtype
        )
        settings = {
            "batches": self._batches,
            "guidances": self._guidances,
            "tiers": self._tiers,
            "repeats": self._repeats,
            "dtype": self.dtype,
            "threads": self._threads,
            "busy": self.busy,
        }
        inputs = {"model": {"path": flow.name, "sha256": flow.fingerprint}}
        run = Run.open(
            self.runs,
            "bench",
            "flow",
            settings,
            inputs,
            seed=self.seed,
            device=self.device,
            command=command,
            progress=progress,
        )
        with run:
            if run.status != "done":
                with _threads(self._threads), busy_processes(self.busy):
                    self._measure(flow, run)
                run.finish(self._figures(flow, run))
            return run.summary

    @property
    def _batches(self) -> tuple[int, ...]:
        return self.batches or (QUICK_BATCHES if self.quick else BATCHES)

    @property
    def _guidances(self) -> tuple[float, ...]:
        return self.guidances or (QUICK_GUIDANCES if self.quick else GUIDANCES)

    @property
    def _cells(self) -> list[tuple[int, float]]:
        """Batches and guidance scales; where none were asked for, guided ones at one batch alone."""
        every = [(batch, scale) for scale in self._guidances for batch in self._batches]
        chosen = bool(self.batches or self.guidances)
        return [(batch, scale) for batch, scale in every if chosen or not scale or batch == GUIDED_BATCH]

    @property
    def _tiers(self) -> tuple[TierOrPaper, ...]:
        return self.tiers or (("near", "paper") if self.quick else ("exact", "near", "paper"))

    @property
    def _repeats(self) -> int:
        return self.repeats or (QUICK_REPEATS if self.quick else REPEATS)

    @property
    def _threads(self) -> int:
        return self.threads or (QUICK_THREADS if self.quick else torch.get_num_threads())

    def _measure(self, flow: LoadedFlow, run: Run) -> None:
        cells = self._cells
        measured = run.recorded("cell")
        with run.progress(len(cells), "cells", len(measured)) as progress:
            for batch, scale in cells:
                if (key := f"batch {batch}, guidance {scale:g}") not in measured:
                    cell = FlowCell(flow.model, batch, Guidance(scale=scale), self._tiers, self.seed)
                    run.record("cell", key, without_nan(cell.measured(self._repeats)))
                    progress.advance()

    def _figures(self, flow: LoadedFlow, run: Run) -> dict[str, Any]:
        cells = run.recorded("cell")
        found: dict[str, Any] = {}
        for batch, suffix in SUFFIX.items():
            if (cell := cells.get(f"batch {batch}, guidance 0")) is not None:
                found |= {f"{name}{suffix}": value for name, value in headline(cell).items()}
        slower = [
            key
            for key, cell in cells.items()
            for name, of in cell["decoders"].items()
            if name.startswith("auto") and of["fastest"] > cell["decoders"]["sequential"]["slowest"]
        ]
        return {
            **found,
            "auto_slower_than_sequential": slower,
            "model": flow.name,
            "tokens": flow.model.config.tokens,
            "repeats": self._repeats,
            "threads": self._threads,
            "busy": self.busy,
            "device": self.device,
            "seconds": run.seconds,
            "machine": machine(),
            "versions": versions(),
            "cells": cells,
        }

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The figures as tables."""
        shown = [f"{name:>36}  {_word(value)}" for name, value in figures.items() if not isinstance(value, dict)]
        for key, cell in figures["cells"].items():
            shown += ["", f"{key}: floor {1e3 * cell['floor_seconds']:.1f} ms"]
            shown += table(cell)
        return "\n".join(shown)


def headline(cell: Mapping[str, Any]) -> dict[str, Any]:
    """One cell's speeds at equal error (`auto`, SeJD, GS-Jacobi at the tier near), and of the published settings."""
    by = cell["decoders"]

    def speed(name: str, beside: str = "sequential") -> float | None:
        return by[name]["speedup"] / by[beside]["speedup"] if name in by and beside in by else None

    def largest(name: str) -> float | None:
        return by[name]["largest"] if name in by else None

    return {
        "speedup_auto_vs_sequential": speed("auto near"),
        "speedup_auto_vs_sejd_near": speed("auto near", "sejd near"),
        "speedup_auto_vs_gs_near": speed("auto near", "gs-jacobi near"),
        "speedup_auto_vs_reference_sequential": speed("auto near", "reference-sequential"),
        "speedup_sejd_vs_sequential": speed("sejd paper"),
        "speedup_gs_vs_sequential": speed("gs-jacobi paper"),
        "speedup_sejd_near_vs_sequential": speed("sejd near"),
        "speedup_gs_near_vs_sequential": speed("gs-jacobi near"),
        "ratio_to_floor_auto": by["auto near"]["ratio_to_floor"] if "auto near" in by else None,
        "max_abs_diff_auto": largest("auto near"),
        "max_abs_diff_auto_exact": largest("auto exact"),
        "max_abs_diff_sejd": largest("sejd paper"),
        "max_abs_diff_gs": largest("gs-jacobi paper"),
        "calibration_seconds": cell.get("calibration_seconds", {}).get("near"),
        "forwards_auto": by["auto near"]["forwards"] if "auto near" in by else None,
        "forwards_sejd": by["sejd paper"]["forwards"] if "sejd paper" in by else None,
        "numeric_floor": cell["numeric_floor"],
    }


def table(cell: Mapping[str, Any]) -> list[str]:
    """One line a decoder."""
    head = f"{'':>22} {'ms':>9} {'spread':>15} {'speed':>6} {'floors':>7} {'passes':>7} {'largest':>9} {'mean':>9}"
    lines = [head]
    for name, of in cell["decoders"].items():
        spread = f"{1e3 * of['fastest']:.0f}-{1e3 * of['slowest']:.0f}"
        lines.append(
            f"{name:>22} {1e3 * of['seconds']:>9.1f} {spread:>15} {of['speedup']:>6.2f} {of['ratio_to_floor']:>7.2f} "
            f"{of['forwards']:>7.2f} {_word(of['largest']):>9} {_word(of['mean']):>9}"
        )
    return lines


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads, and afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep so many processes multiplying matrices, each with one thread, until the block is left."""
    work = "import numpy as np\na = np.ones((512, 512))\nwhile True: a @ a"
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    running = [subprocess.Popen([sys.executable, "-c", work], env=one_thread) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _word(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
