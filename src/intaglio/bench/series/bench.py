"""`intaglio bench series`: planted spikes found, and the steps by which a denoising trajectory tells its artist."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.bench.kit.methods import default_methods
from intaglio.bench.series.planted_spikes import planted_spikes
from intaglio.explain.series.drawn_trajectories import trajectory_series
from intaglio.explain.series.family import SeriesExplainer
from intaglio.explain.series.labelled_series import LabelledSeries
from intaglio.explain.series.result import ExplainedPoints
from intaglio.explain.site_walks import Walk, forget_walks
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "explain series"
SPIKES, QUICK_SPIKES = 1000, 600
"""Series of a set."""
SETS, QUICK_SETS = 5, 1
NAMES = ("cat", "dog", "sun", "apple", "car", "house", "tree", "fish", "star", "heart", "moon", "bird", "cup", "key")
ARTISTS = ("twemoji", "openmoji", "fluent")
EACH, QUICK_EACH = 8, 2
"""Drawings of a name and artist."""
SITE, STEPS, GUIDANCE, NUMBERS, AT_ONCE = "mid_block", 20, 3.0, 8, 14
TRAJECTORIES = "trajectories"
GROUPED = ("landmarks", "purity", "purity_by_chance")
"""Figures of methods that group series."""


@dataclass(frozen=True, kw_only=True)
class SeriesBench:
    """Points of series that a small transformer goes by: planted spikes, and denoising trajectories.

    `spikes` are series of 50 times in four classes, the period and the sign of spikes of three points; `precision` is
    the area under the precision-recall curve of these points, a mean over held-out series (24% of all points are of a
    spike). `trajectories` are drawings of the embedded model, 8 numbers of its middle block a step, whose class is the
    artist. `gained` is the area by which the called class loses its probability sooner than by chance while points are
    replaced; `rank` the correlation of a time's importance and the effect of its swap; `auc` that of times whose swap
    changes the call. `purity` is the share of held-out series that are of the most frequent class of their landmark,
    where a method makes these. Intervals are of 95%, over series.
    """

    quick: bool = False
    """One set of 600 series, and two drawings of a name and artist: minutes."""
    seed: int = 0
    """Of series, drawings and networks, 0 to 2**31."""
    device: str = "cpu"
    """Where the embedded model computes, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= 2**31:
            raise ValueError(f"seed must be 0 to 2**31, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        methods: dict[str, SeriesExplainer] = default_methods(VERB, seed=self.seed)
        settings = {"methods": {name: asdict(one) for name, one in methods.items()}, "quick": self.quick}
        inputs = {"model": {"path": "testbed", "sha256": load_model(testbed.base_path()).fingerprint}}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "series", settings, inputs, **about) as run:
            if run.status != "done":
                self._measure(run)
                run.finish(figures_of(run.recorded("row"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        lines: list[Sequence[str]] = [
            ("series", "method", "precision", "gained", "rank", "auc", "called right", "purity")
        ]
        for scene, rows in figures["rows"].items():
            for name, row in rows.items():
                cells = (_words(row[key]) for key in ("precision", "gained", "rank", "auc", "accuracy", "purity"))
                lines.append((scene, name, *cells))
        return aligned(lines)

    def _measure(self, run: Run) -> None:
        sets = [f"spikes {self.seed + k}" for k in range(QUICK_SETS if self.quick else SETS)]
        known = run.recorded("row")
        rows = [(scene, name) for scene in (*sets, TRAJECTORIES) for name in default_methods(VERB, seed=0)]
        left = [row for row in rows if " / ".join(row) not in known]
        drawn: LabelledSeries | None = None
        with run.progress(len(rows), "rows", len(rows) - len(left)) as progress:
            for scene, name in left:
                if scene == TRAJECTORIES:
                    drawn = drawn or drawn_series(QUICK_EACH if self.quick else EACH, self.seed, self.device, run)
                    found = measured(name, self.seed, drawn)
                else:
                    found = spiked(name, int(scene.split()[1]), QUICK_SPIKES if self.quick else SPIKES)
                run.record("row", f"{scene} / {name}", found)
                progress.advance()
        if drawn is not None:
            forget_walks(run, len(drawn))


def spiked(name: str, seed: int, count: int) -> dict[str, Any]:
    """Figures of one method on one set of spikes."""
    planted = planted_spikes(count, seed)
    began = time.monotonic()
    found: ExplainedPoints = default_methods(VERB, seed=seed)[name](planted.series)
    precision = planted.precision(found)
    return {**told(found), "precision": float(precision.mean()), "seconds": time.monotonic() - began}


def drawn_series(each: int, seed: int, device: str, run: Run) -> LabelledSeries:
    """Trajectories of all names by all artists."""
    prompts = [f"{name}, {artist} style" for name in NAMES for artist in ARTISTS for _ in range(each)]
    labels = [artist for _ in NAMES for artist in ARTISTS for _ in range(each)]
    model = load_model(testbed.base_path(), device=device)
    seeds = [seed + k for k in range(len(prompts))]
    walk = Walk(SITE, STEPS, GUIDANCE)
    return trajectory_series(model, prompts, labels, seeds, walk, NUMBERS, batch=AT_ONCE, run=run)


def measured(name: str, seed: int, series: LabelledSeries) -> dict[str, Any]:
    """Figures of one method on drawings, of which nothing is planted."""
    began = time.monotonic()
    found: ExplainedPoints = default_methods(VERB, seed=seed)[name](series)
    return {**told(found), "precision": None, "seconds": time.monotonic() - began}


def told(found: ExplainedPoints) -> dict[str, Any]:
    """Figures of a result that every row has."""
    figures = found.figures()
    return {
        "gained": figures["gained"],
        "gained_interval": figures["gained_interval"],
        "rank": figures["swap_rank"],
        "rank_interval": figures["swap_rank_interval"],
        "auc": figures["swap_auc"],
        "accuracy": figures["accuracy"],
        **{key: figures.get(key) for key in GROUPED},
        "first_times": np.bincount(found.first_times(), minlength=found.values.shape[1]).tolist(),
    }


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then every row by its series; figures of several sets of spikes are means."""
    rows: dict[str, dict[str, Any]] = {"spikes": {}, TRAJECTORIES: {}}
    names = list(dict.fromkeys(key.partition(" / ")[2] for key in recorded))
    for name in names:
        sets = [row for key, row in recorded.items() if key.startswith("spikes") and key.endswith(f"/ {name}")]
        means: dict[str, float | None] = {
            key: float(np.mean([row[key] for row in sets])) for key in ("precision", "gained", "rank", "accuracy")
        }
        some = {key: [row[key] for row in sets if row[key] is not None] for key in ("auc", *GROUPED)}
        means |= {key: float(np.mean(values)) if values else None for key, values in some.items()}
        rows["spikes"][name] = {**means, "sets": len(sets)}
        rows[TRAJECTORIES][name] = dict(recorded[f"{TRAJECTORIES} / {name}"])
    flat = {f"precision_{name.replace('-', '_')}": rows["spikes"][name]["precision"] for name in names}
    flat |= {f"auc_{name.replace('-', '_')}": rows[TRAJECTORIES][name]["auc"] for name in names}
    return {**flat, "seconds": seconds, "machine": machine(), "versions": versions(), "rows": rows}


def _words(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
