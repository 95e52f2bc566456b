"""`intaglio bench counterfactuals`: pictures of a planted cause with an attribute set, beside what they would be."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.bench.counterfactuals.planted_pictures import (
    GRAPH,
    GREATEST,
    LEAST,
    MEASURED,
    NAMES,
    PlantedPictures,
    drawn_faces,
    planted_pictures,
)
from intaglio.bench.kit.methods import default_methods
from intaglio.explain.counterfactuals.attribute_table import AttributeTable
from intaglio.explain.counterfactuals.family import CounterfactualMaker, LearntPictures
from intaglio.explain.counterfactuals.made_pictures import made, measured_values
from intaglio.explain.counterfactuals.picture_measures import MeasuredAttribute, measured_attribute
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.interval import interval
from intaglio.printable import aligned
from intaglio.randomness import numpy_generator
from intaglio.runs.machine import machine, versions
from intaglio.runs.plain_json import digest
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB, CORE = "explain counterfactuals", "causal-diffae"
RESOLUTION = 32
PICTURES, SHOWN, UPDATES = 256, 32, 1200
QUICK_PICTURES, QUICK_SHOWN, QUICK_UPDATES = 192, 24, 600
NEAR = 0.1
"""Greatest distance of a size that is set nearby, as a share of the range: what stands beside such a brightness."""
CHANGES = ("brightness", "size", "size-nearby")
TRUE = "true-pictures"
TENTH, ALONE = "tenth-labelled", "tenth-alone"
EVERY = 10
"""One in so many pictures has labels, where few have."""


@dataclass(frozen=True, kw_only=True)
class CounterfactualsBench:
    """Counterfactual pictures against planted ones: a face whose size follows its brightness.

    Pictures of brightness b = u1 and size s = 0.4 + 0.4 b + 0.1 u2 are learnt; of further ones b or s is set, to values
    drawn from the whole range, or a size within 0.1 of the range from its own. `told` is the distance of an attribute
    as a method says it is from what it would be, `measured` that of the attribute as measured in the picture, both as
    shares of the range, and `picture` the root mean square distance from the true picture; means over pictures with 95%
    intervals by resampling these. The row `true-pictures` has the error of the measures themselves; in
    `tenth-labelled` causal-diffae is given the labels of one picture in ten, and in `tenth-alone` these pictures only.
    """

    quick: bool = False
    """Fewer pictures and updates: minutes."""
    seed: int = 0
    """Of pictures, weights and noise, 0 to 2**32 - 1."""
    device: str = "cpu"
    """Where the networks compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be 0 to 2**32 - 1, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        updates = QUICK_UPDATES if self.quick else UPDATES
        methods: dict[str, CounterfactualMaker] = default_methods(VERB, seed=self.seed, updates=updates)
        count, shown = (QUICK_PICTURES, QUICK_SHOWN) if self.quick else (PICTURES, SHOWN)
        settings = {"methods": {name: asdict(one) for name, one in methods.items()}, "pictures": [count, shown]}
        learnt, asked = (planted_pictures(size, self.seed, k, RESOLUTION) for k, size in enumerate((count, shown)))
        images = ImageSet.from_pixels(learnt.pixels)
        inputs = {"pictures": {"path": "planted", "sha256": digest(list(images.hashes))}}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "counterfactuals", settings, inputs, **about) as run:
            if run.status != "done":
                self._measure(methods, images, learnt, asked, run)
                run.finish(figures_of(run.recorded("row"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        errors = [f"{kind} {name}" for kind in ("told", "measured") for name in NAMES]
        lines: list[tuple[str, ...]] = [("method", "set", *errors, "picture")]
        order = sorted(figures["rows"].values(), key=lambda row: (CHANGES.index(row["set"]), row["picture"]["mean"]))
        for row in order:
            cells = [row[kind][name] for kind in ("told", "measured") for name in NAMES]
            told = (f"{one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})" for one in (*cells, row["picture"]))
            lines.append((row["method"], row["set"], *told))
        return aligned(lines)

    def _measure(
        self,
        methods: Mapping[str, CounterfactualMaker],
        images: ImageSet,
        learnt: PlantedPictures,
        asked: PlantedPictures,
        run: Run,
    ) -> None:
        measured = {k: measured_attribute(name, learnt.pixels, learnt.values[:, k]) for k, name in enumerate(MEASURED)}
        rows = contenders(methods, images, learnt.values)
        with run.progress(len(rows), "methods", len(run.recorded("row")) // len(CHANGES)) as progress:
            for name, (method, given, table) in rows.items():
                if f"{name} {CHANGES[-1]}" in run.recorded("row"):
                    continue
                model = method and method.learnt(given, table, GRAPH, run=run, device=self.device)
                about = (table, measured, self.seed, self.device, run)
                found = {change: measured_row(name, model, asked, change, *about) for change in CHANGES}
                if method:
                    method.forget(run)  # before its rows: another one of the same method begins anew
                for change, row in found.items():
                    run.record("row", f"{name} {change}", row)
                progress.advance()


def contenders(
    methods: Mapping[str, CounterfactualMaker], images: ImageSet, values: Float[ndarray, "n d"]
) -> dict[str, tuple[CounterfactualMaker | None, ImageSet, AttributeTable]]:
    """A method, and pictures and labels that it is given, by the row's name."""
    table, few = AttributeTable(NAMES, values), list(range(0, len(values), EVERY))
    sparse = np.full_like(values, np.nan)
    sparse[few] = values[few]
    return {
        TRUE: (None, images, table),
        **{name: (method, images, table) for name, method in methods.items()},
        TENTH: (methods[CORE], images, AttributeTable(NAMES, sparse)),
        ALONE: (methods[CORE], images[few], AttributeTable(NAMES, values[few])),
    }


def targets(asked: PlantedPictures, change: str, seed: int) -> tuple[int, Float[ndarray, "n"]]:
    """Place of the attribute that is set, and the value of each picture."""
    place = 0 if change == "brightness" else 1
    share = numpy_generator(seed, 2, CHANGES.index(change)).uniform(size=len(asked.values))
    low, high = LEAST[place], GREATEST[place]
    if change == "size-nearby":
        return place, np.clip(asked.values[:, 1] + NEAR * (high - low) * (2 * share - 1), low, high)
    return place, low + share * (high - low)


def measured_row(
    name: str,
    model: LearntPictures | None,
    asked: PlantedPictures,
    change: str,
    table: AttributeTable,
    measured: Mapping[int, MeasuredAttribute],
    seed: int,
    device: str,
    run: Run,
) -> dict[str, Any]:
    """Errors of one method under one change; the true pictures where there is no model."""
    place, to = targets(asked, change, seed)
    truth = asked.after(place, to)
    real = drawn_faces(truth, RESOLUTION)
    after, pixels = truth, real
    if model is not None:
        scaled = table.scaled(asked.values), {place: table.scaled(truth)[:, place]}
        found = made(model, asked.pixels, *scaled, device)
        after, pixels = table.unscaled(found.after), found.pixels["after"]
        for k, one in enumerate(torch.cat([asked.pixels, found.pixels["before"], pixels, real], 3)[:12]):
            run.save_image(f"{name}-{change}-{k}", one)
    seen = measured_values(pixels, len(NAMES), measured)
    errors = {"told": np.abs(after - truth), "measured": np.abs(seen - truth)}
    found = {
        kind: {one: mean_interval(error[:, k] / (GREATEST - LEAST)[k]) for k, one in enumerate(NAMES)}
        for kind, error in errors.items()
    }
    return {"method": name, "set": change, **found, "picture": mean_interval(distances(pixels, real))}


def distances(pixels: Float[Tensor, "n 3 h w"], real: Float[Tensor, "n 3 h w"]) -> Float[ndarray, "n"]:
    """Root mean square distance of each picture from another."""
    return (pixels - real).square().mean((1, 2, 3)).sqrt().double().numpy()


def mean_interval(values: Float[ndarray, "n"]) -> dict[str, float]:
    """The mean with its 95% interval over pictures."""
    low, high = interval(lambda drawn: drawn.mean(-1), [values])
    return {"mean": float(values.mean()), "low": low, "high": high}


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures of the core method, then every row."""
    headline = {
        f"{name}_after_{change}": recorded[f"{CORE} {change}"]["measured"][name]["mean"]
        for change in CHANGES
        for name in NAMES
    }
    about = {"seconds": seconds, "machine": machine(), "versions": versions()}
    return {**headline, **about, "rows": dict(recorded)}
