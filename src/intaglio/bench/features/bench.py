"""`intaglio bench features`: how well artist and kind of emoji are read from a denoiser, and from its peers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from intaglio.bench.kit.methods import default_methods
from intaglio.explain.features.family import FeatureProbe
from intaglio.explain.features.feature_cells import ProbedNetworks
from intaglio.explain.features.result import FeatureProbes
from intaglio.explain.probe_scores import difference_interval
from intaglio.files import file_hash
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.encoder import load_encoder
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.models.scored_network import classifier_score
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "explain features"
CORE = "denoiser"
LABELS = ("artist", "kind")
QUICK: Mapping[str, Any] = {
    "sites": ("mid_block", "up_blocks.0", "up_blocks.1"),
    "timesteps": (20, 90),
    "noises": 1,
    "shuffles": 4,
    "strengths": (0.01,),
}
"""Settings of --quick, of those methods that have them."""
KINDS: Mapping[str, Sequence[str]] = {"model": ("model",), "network": ("encoder", "classifier"), "nothing": ("none",)}
"""Networks of the bench that methods are measured with, by what they ask."""


@dataclass(frozen=True, kw_only=True)
class FeaturesBench:
    """Labels read from features: artist and kind of emoji, from a denoiser and its peers.

    Pictures are the 223 of all four artists whose subjects no embedded classifier has seen; pictures of one name stay
    in one fold. The base model has seen some of them, without labels but with captions that name the artist. `accuracy`
    is balanced, the cell and the strength of the penalty chosen without the pictures asked about; `probe_accuracy` its
    mean over both labels. `classifier` is trained on these very labels, of other pictures: a ceiling, no peer. `ahead`
    is how much further the denoiser is, on the same pictures, with its 95% interval.
    """

    explain_figures: ClassVar[tuple[str, ...]] = ("probe_accuracy_denoiser", "probe_accuracy_encoder")
    """Headline figures that `bench explain` tells too."""

    quick: bool = False
    """Three sites at two noise levels, of one draw each, one strength, few shuffles: a minute."""
    seed: int = 0
    """Of folds, shuffles and noise, from 0."""
    device: str = "cpu"
    """Where the networks compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        changes = dict(QUICK) if self.quick else {}
        methods: dict[str, FeatureProbe] = default_methods(VERB, seed=self.seed, **changes)
        networks = asked_networks(self.device)
        settings = {"methods": {name: asdict(one) for name, one in methods.items()}}
        inputs = {name: {"path": "testbed", "sha256": one.hash} for name, one in networks.items()}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "features", settings, inputs, **about) as run:
            if run.status != "done":
                self._measure(methods, networks, run)
                run.finish(figures_of(run.recorded("row"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("row", *(word for label in LABELS for word in (label, "95%", "shuffled", "best")))
        lines = [(name, *(word for label in LABELS for word in _words(row[label]))) for name, row in _rows(figures)]
        return aligned([head, *lines])

    def _measure(self, methods: Mapping[str, FeatureProbe], networks: Mapping[str, ProbedNetworks], run: Run) -> None:
        images, told = testbed.held_out_pictures()
        labels = {label: [one.get(label, "") for one in told] for label in LABELS}
        rows = [
            (kind if method.asks == "network" else name, method, kind)
            for name, method in methods.items()
            for kind in KINDS[method.asks]
        ]
        left = [row for row in rows if row[0] not in run.recorded("row")]
        with run.progress(len(rows), "rows", len(rows) - len(left)) as progress:
            for name, method, kind in left:
                run.record("row", name, measured(method, networks[kind], images, labels))
                progress.advance()


def asked_networks(device: str) -> dict[str, ProbedNetworks]:
    """The embedded networks by kind."""
    network = load_encoder(testbed.encoder_path(), device)
    encoder = Embedding("embedded", file_hash(testbed.encoder_path()), network, next(network.parameters()).device)
    classifier = testbed.classifier().to(device)
    return {
        "model": ProbedNetworks(model=load_model(testbed.base_path(), device=device)),
        "encoder": ProbedNetworks(encoder=encoder),
        "classifier": ProbedNetworks(scored=classifier_score(classifier, next(iter(classifier.classes)))),
        "none": ProbedNetworks(),
    }


def subjects_of(images: ImageSet) -> list[str]:
    """The name of the subject of each picture, by its caption `NAME, ARTIST style`."""
    return [(caption or "").partition(",")[0] for caption in images.captions]


def measured(
    method: FeatureProbe, networks: ProbedNetworks, images: ImageSet, labels: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Answers and shuffles that a row's figures are made of, by label."""
    found: FeatureProbes = method(networks, images, labels, subjects_of(images))
    figures = found.figures()["labels"]
    return {
        one.column: {
            **figures[one.column],
            "cells": {cell.name: accuracy for cell, accuracy in zip(one.cells, one.accuracies, strict=True)},
            "truth": dict(zip(one.names, one.truth.tolist(), strict=True)),
            "groups": dict(zip(one.names, one.groups.tolist(), strict=True)),
            "chosen": dict(zip(one.names, one.chosen.tolist(), strict=True)),
        }
        for one in found.labels
    }


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then every row."""
    plain = ("truth", "groups", "chosen")
    rows = {
        name: {label: {key: value for key, value in one[label].items() if key not in plain} for label in one}
        for name, one in recorded.items()
    }
    headline = {
        f"probe_accuracy_{name}": float(np.mean([one[label]["accuracy"] for label in LABELS]))
        for name, one in rows.items()
    }
    flat = {f"{label}_{name}": one[label]["accuracy"] for name, one in rows.items() for label in LABELS}
    ahead = {
        name: {label: _difference(recorded[CORE][label], one[label]) for label in LABELS}
        for name, one in recorded.items()
        if name != CORE and CORE in recorded
    }
    about = {"seconds": seconds, "machine": machine(), "versions": versions()}
    return {**headline, **flat, "ahead": ahead, **about, "rows": rows}


def _difference(mine: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Balanced accuracy of one less that of another, with its interval over the same groups of pictures."""
    names = sorted(mine["truth"])
    truth, groups = (np.array([mine[key][name] for name in names]) for key in ("truth", "groups"))
    first, second = (np.array([one["chosen"][name] for name in names]) for one in (mine, other))
    return {
        "difference": mine["accuracy"] - other["accuracy"],
        "interval": list(difference_interval(truth, first, second, groups)),
    }


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The furthest first."""
    return sorted(figures["rows"].items(), key=lambda row: -figures[f"probe_accuracy_{row[0]}"])


def _words(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    low, high = row["interval"]
    return f"{row['accuracy']:.2f}", f"{low:.2f} to {high:.2f}", f"{row['chance']:.2f}", row["best"]
