"""`intaglio bench explain`: attributions of a classifier's score, beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.bench.explain.beside import figures_beside
from intaglio.bench.explain.explain_scene import PLANTED_SIDE, ExplainScene
from intaglio.bench.kit.methods import default_method
from intaglio.errors import BadInput
from intaglio.explain.family import Attributor
from intaglio.files import file_hash
from intaglio.metrics.statistics.interval import interval
from intaglio.models import testbed
from intaglio.printable import aligned
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.verbs import VERBS

VERB = "explain"
PICTURES, GRIDS = 100, 50
QUICK_PICTURES, QUICK_GRIDS = 16, 6
BATCH = 16
"""Pictures that go through the network together: maps of more grids leave the caches, and take twice the time."""
MEASURED = ("insertion", "deletion", "gridpg", "difull", "planted", "sanity")
"""Figures of a row that have an interval."""
LIMA, SMDL, CAM = "lima", "smdl", "grad-cam"


@dataclass(frozen=True, kw_only=True)
class ExplainBench:
    """Explanations of a classifier: faithfulness, places in grids, planted sums, and passes.

    `insertion` and `deletion` are mean areas under the class's probability, over real pictures; `chance` is insertion
    in a random order. `gridpg` is the share of a map in the cell of its class, in grids of four pictures that go
    through the network whole: 0.25 for a uniform map. In `difull` each cell goes through alone, so that nothing outside
    can matter, although the opposite corner has the same class. `planted` is the rank correlation with the weights of a
    sum over 64 cells. `sanity` is that of a map, over ink and without its sign, with the map under a head drawn at
    random: near 0 where it is of the class at all. Intervals are of 95%, by resampling pictures. The benches concepts,
    blindspots, bias, features and patching measure the room's other verbs; where the same folder has finished runs of
    them, their headline figures stand beside these, and `beside` names the runs.
    """

    quick: bool = False
    """16 pictures and 6 grids: minutes."""
    rows: tuple[str, ...] = ()
    """Rows to measure, such as lima; none takes all."""
    seed: int = 0
    """Of grids, draws and planted weights, from 0."""
    workers: int | None = None
    """Processes that rows are spread over; none takes one a core."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        methods = self._methods()
        scene = self._scene()
        settings = {
            "pictures": scene.pictures,
            "grids": scene.grids,
            "methods": {name: asdict(one) for name, one in methods.items()},
        }
        known = {"classifier": {"path": "testbed", "sha256": file_hash(testbed.classifier_path())}}
        about: dict[str, Any] = {"seed": self.seed, "device": "cpu", "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "explain", settings, known, **about) as run:
            if run.status != "done":
                self._measure(methods, run)
                run.finish(figures_of(run.recorded("row"), run.seconds))
            return {**run.summary, **figures_beside(self.runs)}

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("row", *MEASURED, "by chance", "passes")
        lines = [
            (name, *(f"{row[key]:.3f}" for key in MEASURED), f"{row['chance']:.3f}", f"{row['passes']:,.0f}")
            for name, row in figures["rows"].items()
        ]
        return aligned([head, *lines])

    def _scene(self) -> ExplainScene:
        counts = (QUICK_PICTURES, QUICK_GRIDS) if self.quick else (PICTURES, GRIDS)
        return ExplainScene(self.seed, *counts)

    def _methods(self) -> dict[str, Attributor]:
        """Methods by the names of their rows. Raises `BadInput` for a row that there is not."""
        found = {}
        for name in VERBS[VERB].methods:
            for words, settings in type(default_method(VERB, name)).bench.items():
                about = {"seed": self.seed, "batch": BATCH}
                found[f"{name} {words}".strip()] = default_method(VERB, name, **about, **settings)
        if unknown := [name for name in self.rows if name not in found]:
            raise BadInput(f"there is no row called {unknown[0]!r}; choose from: {', '.join(found)}")
        return {name: method for name, method in found.items() if not self.rows or name in self.rows}

    def _measure(self, methods: Mapping[str, Attributor], run: Run) -> None:
        left = [name for name in methods if name not in run.recorded("row")]
        left.sort(key=lambda name: -methods[name].passes(PLANTED_SIDE))  # no long one is left to a single worker
        with run.progress(len(methods), "rows", len(methods) - len(left)) as progress:
            for name, found in fan_out(self._row, left, self.workers or workers_for("cpu")):
                run.record("row", name, found)
                progress.advance()

    def _row(self, name: str) -> dict[str, Any]:
        """One row, in whatever process."""
        return self._scene().row(self._methods()[name])


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then every row."""
    rows = {name: _row_of(found) for name, found in recorded.items()}
    peers = {name: row for name, row in rows.items() if name not in (LIMA, SMDL)}
    best = max(peers, key=lambda name: peers[name]["insertion"]) if peers else None
    found: dict[str, Any] = {"methods": len(rows), "gridpg_best": max(row["gridpg"] for row in rows.values())}
    for key, name, measure in (
        ("gridpg_grad_cam", CAM, "gridpg"),
        ("insertion_lima", LIMA, "insertion"),
        ("insertion_smdl", SMDL, "insertion"),
        ("insertion_best_peer", best, "insertion"),
        ("deletion_smdl", SMDL, "deletion"),
    ):
        found[key] = rows[name][measure] if name in rows else None
    ahead = {
        f"{name}_ahead": _difference(recorded[name]["insertion"], recorded[best]["insertion"])
        for name in (LIMA, SMDL)
        if name in rows and best is not None
    }
    return {
        **found,
        "best_peer": best,
        **ahead,
        "seconds": seconds,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def _row_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Means of a row, each with its interval over pictures, grids or networks."""
    means = {name: float(np.mean(found[name])) for name in (*MEASURED, "chance", "passes")}
    return {**means, "intervals": {name: _interval(np.array(found[name])) for name in MEASURED}}


def _interval(values: np.ndarray) -> list[float | None]:
    """Bounds of the mean; none for fewer than two values."""
    return list(interval(lambda drawn: drawn.mean(-1), [values])) if len(values) > 1 else [None, None]


def _difference(mine: Sequence[float], theirs: Sequence[float]) -> list[float | None]:
    """Mean difference over the same pictures, with its bounds."""
    values = np.array(mine) - np.array(theirs)
    return [float(values.mean()), *_interval(values)]
