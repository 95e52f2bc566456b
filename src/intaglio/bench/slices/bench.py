"""`intaglio bench slices`: planted groups of mistaken pictures, looked for with and without masks."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.bench.kit.marked_pictures import CLASSES, CorneredPictures, marked_pictures
from intaglio.bench.kit.methods import default_methods
from intaglio.explain.picture_features import EncodedFeatures, FeatureSource, LayerFeatures
from intaglio.explain.slices.balanced_weights import balanced_weights
from intaglio.explain.slices.family import SliceFinder
from intaglio.explain.slices.result import ErrorSlices
from intaglio.files import file_hash
from intaglio.metrics.similarity.encoder import load_encoder
from intaglio.metrics.similarity.measures import Embedding
from intaglio.metrics.statistics.mean_interval import mean_interval
from intaglio.models import testbed
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "explain slices"
WORDS = "caption-keywords"
SEEDS, QUICK_SEEDS = 8, 3
TOP = 10
"""Pictures of a slice that are counted."""


@dataclass(frozen=True, kw_only=True)
class SlicesBench:
    """Slices of a classifier with a planted shortcut, found with and without masks.

    A small classifier learns Noto from other artists on pictures of which 95% have a red corner exactly where they are
    Noto's; on others 30% have it wrongly, and many of these are mistaken. `precision` is the share of the first ten
    pictures of a slice that are of a planted group (Noto without the corner, others with it), of the best slice for
    each group, a mean over groups and trainings; `holds` the share of slices that pass their test; `wrong` the share of
    wrong answers among planted pictures and among others. `worst` is the accuracy on further pictures, marked or not,
    of the worst of these and the classes, after a training by the weights of the slices: as it was without weights,
    and at most that by the planted groups themselves. `gain` is the interval of its rise, 95%, of pairs of trainings.
    """

    quick: bool = False
    """3 trainings; under two minutes."""
    trainings: int = 8
    """Trainings of the classifier, each with marks of its own, at least 2, with --quick at most 3."""
    seed: int = 0
    """Of the first training, from 0; the others have the next ones."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.trainings < 2:
            raise ValueError(f"trainings must be at least 2, not {self.trainings}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        count = min(self.trainings, QUICK_SEEDS) if self.quick else self.trainings
        settings = {"trainings": count, "methods": {name: asdict(one) for name, one in self._rows().items()}}
        inputs = {"similarity": {"path": "testbed", "sha256": file_hash(testbed.encoder_path())}}
        about: dict[str, Any] = {"seed": self.seed, "device": "cpu", "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "slices", {**settings, "seed": self.seed}, inputs, **about) as run:
            if run.status != "done":
                self._measure(count, run)
                run.finish(figures_of(run.recorded("training"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("row", "precision", "spread", "holds", "worst", "spread", "gain, 95%")
        keys = ("precision", "spread", "holds", "worst", "worst_spread")
        lines = [
            (name, *(f"{one[key]:.2f}" for key in keys), "{:+.2f} to {:+.2f}".format(*one["gain"]))
            for name, one in figures["rows"].items()
        ]
        table = aligned([head, *lines])
        planted, others = figures["wrong_planted"], figures["wrong_others"]
        before, best = figures["worst_before"], figures["worst_planted"]
        return (
            f"{table}\n\nwrong: {planted:.0%} of planted pictures, {others:.0%} of others\n"
            f"worst group: {before:.2f} without weights, {best:.2f} by the planted groups"
        )

    def _rows(self) -> dict[str, SliceFinder]:
        """Methods by the names of their rows: with masks and without."""
        found = {}
        for masked in (True, False):
            for name, method in default_methods(VERB, seed=self.seed, masked=masked).items():
                if name != WORDS or not masked:
                    found[f"{name}{', masked' if masked else ''}"] = method
        return found

    def _measure(self, count: int, run: Run) -> None:
        known = run.recorded("training")
        with run.progress(count, "trainings", len(known)) as progress:
            for seed in range(self.seed, self.seed + count):
                if str(seed) not in known:
                    run.record("training", str(seed), measured(marked_pictures(seed), self._rows(), seed))
                    progress.advance()


def measured(pictures: CorneredPictures, methods: Mapping[str, SliceFinder], seed: int) -> dict[str, Any]:
    """Precision, tests and worst groups of every row, by both kinds of features, and how often the classifier errs."""
    network = load_encoder(testbed.encoder_path())
    encoder = Embedding("embedded", file_hash(testbed.encoder_path()), network, next(network.parameters()).device)
    sources: dict[str, FeatureSource] = {"encoder": EncodedFeatures(encoder), "own": LayerFeatures(pictures.scored)}
    rows = {}
    for name, method in methods.items():
        for kind, source in sources.items():
            began = time.monotonic()
            found = method(pictures.scored, source, pictures.images, pictures.truth, pictures.taught)
            weights = np.array([one.weight for one in found.weighed])
            rows[name if name == WORDS else f"{name}, {kind}"] = {
                "precision": precision(found, pictures.planted),
                "holds": float(np.mean([one.passes for one in found.groups])) if found.groups else 0.0,
                "seconds": time.monotonic() - began,
                "worst": pictures.worst(pictures.retaught(weights, seed)),
            }
    called = pictures.scored.called(pictures.images.pixels).numpy()
    wrong = called != np.array([pictures.scored.classes.index(one) for one in pictures.truth])
    codes = np.array([CLASSES.index(one) for one in pictures.taught.truth])
    best = pictures.retaught(balanced_weights(codes, pictures.cells), seed)
    return {
        "rows": rows,
        "wrong_planted": float(wrong[pictures.astray].mean()),
        "wrong_others": float(wrong[~pictures.astray].mean()),
        "worst_before": pictures.worst(pictures.retaught(np.ones(len(codes)), seed)),
        "worst_planted": pictures.worst(best),
    }


def precision(found: ErrorSlices, planted: Sequence[set[str]]) -> float:
    """Share of a slice's first ten pictures that are of a group, of the best slice, a mean over groups."""
    best = [
        max((sum(name in group for name in one.pictures[:TOP]) / TOP for one in found.groups), default=0.0)
        for group in planted
    ]
    return sum(best) / len(best)


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then every row."""
    trainings = list(recorded.values())
    rows = {}
    for name in trainings[0]["rows"]:
        values, worst = ([one["rows"][name][key] for one in trainings] for key in ("precision", "worst"))
        rows[name] = {
            "precision": float(np.mean(values)),
            "spread": _spread(values),
            "worst": float(np.mean(worst)),
            "worst_spread": _spread(worst),
            "gain": list(mean_interval(_gains(worst, trainings))),
            "holds": float(np.mean([one["rows"][name]["holds"] for one in trainings])),
            "seconds": float(np.mean([one["rows"][name]["seconds"] for one in trainings])),
        }
    flat = {f"precision_{name.replace(', ', '_').replace('-', '_')}": one["precision"] for name, one in rows.items()}
    flat |= {f"worst_{name.replace(', ', '_').replace('-', '_')}": one["worst"] for name, one in rows.items()}
    told = ("wrong_planted", "wrong_others", "worst_before", "worst_planted")
    wrong = {name: float(np.mean([one[name] for one in trainings])) for name in told}
    return {**flat, **wrong, "seconds": seconds, "machine": machine(), "versions": versions(), "rows": rows}


def _gains(worst: Sequence[float], trainings: Sequence[Mapping[str, Any]]) -> list[float]:
    return [after - one["worst_before"] for after, one in zip(worst, trainings, strict=True)]


def _spread(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
