"""`intaglio bench weights`: which figures of kernels tell trained layers from untrained ones; designed first layers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from intaglio.bench.kit.methods import default_methods
from intaglio.bench.weights.first_layers import FIRST_LAYERS, LEARNED, ArtistPictures, answers
from intaglio.explain.weights.family import KernelReader
from intaglio.explain.weights.kernel_layers import KernelLayer, kernel_layers
from intaglio.files import file_hash
from intaglio.metrics.statistics.interval import interval
from intaglio.metrics.statistics.roc import row_aucs
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.printable import aligned
from intaglio.randomness import generator
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "explain weights"
QUICK_EPOCHS = 15
QUICK_SIZES = (3,)


@dataclass(frozen=True, kw_only=True)
class WeightsBench:
    """Figures of kernels on trained and untrained layers, and accuracy with designed first layers.

    `auc` tells how well a figure, of each method its main one first, separates the convolutions of the embedded models
    and classifier from the same ones filled at random, uniformly with the standard deviation that torch gives a new
    layer: 1 or 0 for layers that are all apart, 1/2 for none. `first` has the balanced accuracy of small classifiers of
    the artist whose first layer is learned, a designed bank or random, in five folds by subject, with its 95% interval
    by resampling pictures, and `behind_learned` the paired difference to the learned one.
    """

    quick: bool = False
    """15 epochs, first layers of 3x3 kernels alone; two or three minutes."""
    epochs: int = 30
    """Passes over the pictures, from 1, with --quick at most 15."""
    sizes: tuple[int, ...] = (3, 5, 7)
    """Sides of the first layer's kernels, odd; with --quick those of 3 alone."""
    seed: int = 0
    """Of folds, first weights and random layers, from 0."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, not {self.epochs}")
        if not self.sizes or any(one < 3 or one % 2 == 0 for one in self.sizes):
            raise ValueError("sizes must be odd numbers from 3, one or more")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        methods: dict[str, KernelReader] = default_methods(VERB, seed=self.seed)
        settings = {"epochs": self._epochs, "sizes": self._sizes}
        settings |= {"methods": {name: asdict(one) for name, one in methods.items()}}
        inputs = {"classifier": {"path": "testbed", "sha256": file_hash(testbed.classifier_path())}}
        about: dict[str, Any] = {"seed": self.seed, "device": "cpu", "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "weights", settings, inputs, **about) as run:
            if run.status != "done":
                labelled = ArtistPictures.of(testbed.real_pictures())
                self._measure(methods, labelled, run)
                run.finish(figures_of(run.recorded("reader"), run.recorded("first"), labelled.labels, run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as two tables."""
        rows = figures["rows"]
        read = [("figure", "auc", "trained", "untrained")]
        read += [
            (name, f"{one['auc']:.3f}", f"{one['trained']:.3f}", f"{one['untrained']:.3f}")
            for name, one in rows["readers"].items()
        ]
        first = [("first layer", "accuracy", "95%", "behind learned")]
        first += [
            (
                name,
                f"{one['accuracy']:.3f}",
                "{:.3f} to {:.3f}".format(*one["interval"]),
                "{:.3f} ({:.3f} to {:.3f})".format(one["behind_learned"], *one["behind_interval"]),
            )
            for name, one in rows["first"].items()
        ]
        return "\n\n".join(aligned(lines) for lines in (read, first))

    @property
    def _epochs(self) -> int:
        return min(self.epochs, QUICK_EPOCHS) if self.quick else self.epochs

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(one for one in self.sizes if one in QUICK_SIZES) if self.quick else self.sizes

    def _measure(self, methods: Mapping[str, KernelReader], labelled: ArtistPictures, run: Run) -> None:
        firsts = [(f"{first} {size}x{size}", first, size) for size in self._sizes for first in FIRST_LAYERS]
        known = run.recorded("reader"), run.recorded("first")
        left = [name for name in methods if name not in known[0]], [one for one in firsts if one[0] not in known[1]]
        total = len(methods) + len(firsts)
        with run.progress(total, "rows", total - sum(map(len, left))) as progress:
            layers = trained_layers() if left[0] else ()
            for name in left[0]:
                run.record("reader", name, read(methods[name], layers, self.seed))
                progress.advance()
            for row, first, size in left[1]:
                began = time.monotonic()
                right = answers(labelled, first, size, self._epochs, self.seed)
                run.record("first", row, {"right": right, "seconds": time.monotonic() - began})
                progress.advance()


def trained_layers() -> tuple[KernelLayer, ...]:
    """Convolutions of the embedded denoiser, its autoencoder and the embedded classifier."""
    model = load_model(testbed.base_path())
    parts = {name: model.parts[name] for name in ("denoiser", "autoencoder")} | {"classifier": testbed.classifier()}
    return tuple(
        KernelLayer(f"{part}.{one.name}", one.kernels)
        for part, module in parts.items()
        for one in kernel_layers(module)
    )


def untrained(layers: Sequence[KernelLayer], seed: int) -> tuple[KernelLayer, ...]:
    """Layers of the same shapes, uniform with variance 1 / (3 inputs)."""
    return tuple(
        KernelLayer(one.name, (2 * _uniform(one, seed) - 1) * one.kernels[0].numel() ** -0.5) for one in layers
    )


def _uniform(layer: KernelLayer, seed: int) -> Float[Tensor, "o i kh kw"]:
    return torch.rand(layer.kernels.shape, generator=generator(seed, "untrained", layer.name))


def read(method: KernelReader, layers: Sequence[KernelLayer], seed: int) -> dict[str, Any]:
    """Figures of the layers by name, and of untrained ones, the main one first."""
    began = time.monotonic()
    return {
        "trained": _columns(method, layers),
        "untrained": _columns(method, untrained(layers, seed)),
        "seconds": time.monotonic() - began,
    }


def _columns(method: KernelReader, layers: Sequence[KernelLayer]) -> dict[str, list[float]]:
    rows = [method.figures(one.kernels) for one in layers]
    return {name: [float(row[name]) for row in rows] for name in method.measured}


def figures_of(
    readers: Mapping[str, Mapping[str, Any]],
    first: Mapping[str, Mapping[str, Any]],
    labels: Sequence[int],
    seconds: float,
) -> dict[str, Any]:
    """Headline figures, then every row."""
    read_rows = {
        f"{method} {name}": {
            "auc": float(row_aucs(np.array([values]), np.array([found["untrained"][name]]))[0]),
            "trained": float(np.mean(values)),
            "untrained": float(np.mean(found["untrained"][name])),
        }
        for method, found in readers.items()
        for name, values in found["trained"].items()
    }
    first_rows = {row: _first_row(row, first, np.array(labels)) for row in first}
    main = {method: next(iter(found["trained"])) for method, found in readers.items()}
    flat = {f"auc_{method.replace('-', '_')}": read_rows[f"{method} {name}"]["auc"] for method, name in main.items()}
    flat |= {f"accuracy_{row.replace(' ', '_')}": one["accuracy"] for row, one in first_rows.items()}
    count = len(next(iter(next(iter(readers.values()))["trained"].values())))
    about = {"layers": count, "pictures": len(labels), "seconds": seconds}
    rows = {"readers": read_rows, "first": first_rows}
    return {**flat, **about, "machine": machine(), "versions": versions(), "rows": rows}


def _first_row(row: str, first: Mapping[str, Mapping[str, Any]], labels: Int[ndarray, "n"]) -> dict[str, Any]:
    right, learned = (np.array(first[name]["right"], dtype=float) for name in (row, f"{LEARNED} {row.split()[-1]}"))
    behind = learned - right
    return {
        "accuracy": float(_mean_of_classes(*_by_class(right, labels))),
        "interval": list(interval(_mean_of_classes, _by_class(right, labels))),
        "behind_learned": float(_mean_of_classes(*_by_class(behind, labels))),
        "behind_interval": list(interval(_mean_of_classes, _by_class(behind, labels))),
        "seconds": first[row]["seconds"],
    }


def _by_class(values: Float[ndarray, "n"], labels: Int[ndarray, "n"]) -> list[Float[ndarray, "_"]]:
    return [values[labels == one] for one in np.unique(labels)]


def _mean_of_classes(*values: Float[ndarray, "*b _"]) -> Float[ndarray, "*b"]:
    """Mean over classes of the mean of each."""
    return np.asarray(np.mean([one.mean(-1) for one in values], axis=0))
