"""`intaglio bench surrogate`: how much of a classifier's answers few of many features tell."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intaglio.bench.kit.distinct_pictures import distinct_pictures
from intaglio.bench.kit.methods import default_methods
from intaglio.explain.features.feature_cells import ProbedNetworks
from intaglio.explain.features.methods.denoiser import DenoiserProbe
from intaglio.explain.surrogate.asked_network import network_rows
from intaglio.explain.surrogate.black_box_rows import BlackBoxRows
from intaglio.explain.surrogate.family import SurrogateChooser
from intaglio.files import file_hash
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.models.scored_network import classifier_score
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "explain surrogate"
SOURCES = ("denoiser", "classifier")
SITES, TIMESTEP = ("mid_block", "up_blocks.0", "up_blocks.1"), 20
COUNT = 30
"""Features that are chosen."""
QUICK_SPLITS = 2
AT_ONCE = 16
"""Pictures that go through the denoiser together."""
MEASURES = ("kept", "fidelity", "knee", "knee_fidelity", "agreement")


@dataclass(frozen=True, kw_only=True)
class SurrogateBench:
    """Few of many features that say what the embedded classifier says of an emoji's artist.

    Rows are shipped pictures; the black box is the classifier's probabilities of four artists. Features are means over
    2 x 2 cells of three blocks of the embedded denoiser, of which the black box knows nothing, or what its own head
    takes, about which it is asked. `kept` is the fidelity, on held-out rows, of a forest on the 30 first features over
    that of one on all; `fidelity` that of the tree on them; `knee` the count that the method chooses by itself, and
    `knee_fidelity` the tree's there. Means over splits of the rows.
    """

    quick: bool = False
    """2 splits; some four minutes."""
    splits: int = 5
    """Splits into fitted and held-out rows, at least 2, with --quick at most 2."""
    seed: int = 0
    """Of splits, noise and what is drawn, 0 to 2**31."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.splits < 2:
            raise ValueError(f"splits must be at least 2, not {self.splits}")
        if not 0 <= self.seed <= 2**31:
            raise ValueError(f"seed must be 0 to 2**31, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        methods: dict[str, SurrogateChooser] = default_methods(VERB, seed=self.seed, counterfactuals=0)
        count = min(self.splits, QUICK_SPLITS) if self.quick else self.splits
        settings = {"splits": count, "methods": {name: asdict(one) for name, one in methods.items()}}
        inputs = {"network": {"path": "testbed", "sha256": file_hash(testbed.classifier_path())}}
        about: dict[str, Any] = {"seed": self.seed, "device": "cpu", "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "surrogate", {**settings, "seed": self.seed}, inputs, **about) as run:
            if run.status != "done":
                self._measure(methods, range(self.seed, self.seed + count), run)
                run.finish(figures_of(run.recorded("row"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("features", "row", "kept", "fidelity", "knee", "at the knee", "same class")
        lines = [
            (source, name, *(f"{one[what]:.1f}" if what == "knee" else f"{one[what]:.2f}" for what in MEASURES))
            for source, rows in figures["rows"].items()
            for name, one in rows.items()
        ]
        return aligned([head, *lines])

    def _measure(self, methods: Mapping[str, SurrogateChooser], seeds: Sequence[int], run: Run) -> None:
        names = [(source, name) for source in SOURCES for name in methods]
        left = [one for one in names if " ".join(one) not in run.recorded("row")]
        images = pictures() if left else None
        rows: dict[str, BlackBoxRows] = {}
        with run.progress(len(names), "rows", len(names) - len(left)) as progress:
            for source, name in left:
                if source not in rows and images is not None:
                    rows[source] = source_rows(source, images, self.seed)
                run.record("row", f"{source} {name}", measured(methods[name], rows[source], seeds))
                progress.advance()


def pictures() -> ImageSet:
    """Distinct shipped pictures: of subjects that the classifier has not seen, of the base's set, and controls."""
    _, pixels, _ = distinct_pictures()
    return ImageSet.from_pixels(pixels, [f"picture {k}" for k in range(len(pixels))])


def source_rows(source: str, images: ImageSet, seed: int) -> BlackBoxRows:
    """Rows of pictures with the classifier's answers, and features of a source."""
    own = network_rows(classifier_score(testbed.classifier(), "artist"), images)
    return own if source == "classifier" else replace(own, **denoiser_features(images, seed), ask=None)


@torch.no_grad()
def denoiser_features(images: ImageSet, seed: int) -> dict[str, Any]:
    """Features of the embedded denoiser, with the names of their columns."""
    model = load_model(testbed.base_path(), device="cpu")
    probe = DenoiserProbe(sites=SITES, timesteps=(TIMESTEP,), noises=1, seed=seed)
    networks = ProbedNetworks(model=model)
    parts = [probe.features(networks, images[start : start + AT_ONCE]) for start in range(0, len(images), AT_ONCE)]
    cells = list(parts[0])
    values = torch.cat([torch.cat([one[cell] for cell in cells], 1) for one in parts]).float().numpy()
    columns = [f"{cell.site} {k}" for cell in cells for k in range(parts[0][cell].shape[1])]
    return {"features": values, "columns": tuple(columns)}


def measured(method: SurrogateChooser, rows: BlackBoxRows, seeds: Sequence[int]) -> dict[str, Any]:
    """Of each split: figures of the first 30 features, and of the knee."""
    began = time.monotonic()
    found: dict[str, Any] = {name: [] for name in (*MEASURES, "forest", "ceiling")}
    for seed in seeds:
        one = replace(method, count=COUNT, seed=seed)(rows)
        knee = replace(method, seed=seed)(rows)
        told = (one.kept, one.fidelity.value, len(knee.features), knee.fidelity.value, one.agreement)
        for name, value in zip(MEASURES, told, strict=True):
            found[name].append(value)
        found["forest"].append(one.forest)
        found["ceiling"].append(one.ceiling)
    clusters = {"columns": one.wide, "clusters": one.clusters, "rows": len(rows)}
    return {**found, **clusters, "seconds": time.monotonic() - began}


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then every row by its source; a share of nothing is 0."""
    rows: dict[str, dict[str, Any]] = {}
    for key, found in recorded.items():
        source, _, name = key.partition(" ")
        means = {what: float(np.mean([float(one or 0) for one in found[what]])) for what in MEASURES}
        spread = {f"{what}_range": [min(found[what]), max(found[what])] for what in ("fidelity", "forest", "ceiling")}
        rest = {what: found[what] for what in ("columns", "clusters", "rows", "seconds")}
        rows.setdefault(source, {})[name] = {**means, **spread, **rest}
    flat = {
        f"{what}_{source}_{name.replace('-', '_')}": one[what]
        for source, methods in rows.items()
        for name, one in methods.items()
        for what in ("kept", "fidelity")
    }
    return {**flat, "seconds": seconds, "machine": machine(), "versions": versions(), "rows": rows}
