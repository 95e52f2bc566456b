"""`intaglio bench sharpening`: copies that an encoder finds before and after it was sharpened, by each method."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intaglio.bench.kit.distinct_pictures import distinct_pictures
from intaglio.bench.kit.methods import default_methods
from intaglio.explain.sharpening.autoencoded import autoencoded
from intaglio.explain.sharpening.family import EncoderSharpener
from intaglio.explain.sharpening.result import SharpenedEncoder
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.encoder import EMBEDDED, load_encoder
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.runs.tensors import read_state, write_state

VERB = "explain sharpening"
SEEDS = 3
QUICK: dict[str, Any] = {"generator_steps": 400, "encoder_steps": 100}
LATENTS = "latents.safetensors"


@dataclass(frozen=True, kw_only=True)
class SharpeningBench:
    """Copies that the embedded encoder finds before and after each sharpening, among 677 emoji.

    A fifth of the pictures is held out, another one for each of three seeds, with four changed copies of each.
    `found` is the share of copies that are nearer to their original than all but 1% of copies are to a twin, one of the
    two pictures most like their original; `nearest` the share whose nearest of all pictures is their original;
    `precision` the average precision among 40 pictures. `cosine` is that of old and new descriptors, `loss` the error
    of the generator with the old descriptor, the new one, and another picture's new one. Intervals are of 95%, over
    pictures of the first seed.
    """

    quick: bool = False
    """One seed, and 400 and 100 updates in place of 3000 and 1000: minutes."""
    seed: int = 0
    """First of the seeds, 0 to 2**31."""
    device: str = "cpu"
    """Where the networks compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= 2**31:
            raise ValueError(f"seed must be 0 to 2**31, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        settings = {"methods": {name: asdict(one) for name, one in self._methods(self.seed).items()}}
        inputs = {"model": {"path": "testbed", "sha256": load_model(testbed.base_path()).fingerprint}}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "sharpening", {**settings, "quick": self.quick}, inputs, **about) as run:
            if run.status != "done":
                self._measure(run)
                run.finish(figures_of(run.recorded("row"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table, and below it the encoder as it was."""
        keys = ("found_gain", "nearest_gain", "precision_gain", "cosine_kept", "loss_before", "loss_after")
        lines: list[Sequence[str]] = [("method", *(key.replace("_", " ") for key in keys), "of another")]
        for name, row in figures["rows"].items():
            lines.append((name, *(f"{row[key]:.3f}" for key in (*keys, "loss_mistaken"))))
        before = ", ".join(f"{key} {figures[f'{key}_before']:.3f}" for key in ("found", "nearest", "precision"))
        return f"{aligned(lines)}\n\nbefore: {before}"

    def _methods(self, seed: int) -> dict[str, EncoderSharpener]:
        return default_methods(VERB, seed=seed, **(QUICK if self.quick else {}))

    def _measure(self, run: Run) -> None:
        seeds = [self.seed + k for k in range(1 if self.quick else SEEDS)]
        rows = [(name, seed) for seed in seeds for name in self._methods(seed)]
        left = [row for row in rows if f"{row[0]} / {row[1]}" not in run.recorded("row")]
        if not left:
            return
        images, latents = self._pictures(run)
        encoder = load_encoder(EMBEDDED, self.device)
        with run.progress(len(rows), "rows", len(rows) - len(left)) as progress:
            for name, seed in left:
                began = time.monotonic()
                found: SharpenedEncoder = self._methods(seed)[name](encoder, images, latents, of="embedded")
                record = {**found.figures(), "seconds": time.monotonic() - began}
                run.record("row", f"{name} / {seed}", record)
                progress.advance()

    def _pictures(self, run: Run) -> tuple[ImageSet, torch.Tensor]:
        hashes, pixels, _ = distinct_pictures()
        images = ImageSet.from_pixels(pixels, [f"{one}.png" for one in hashes])
        path = Path(run.folder or ".") / LATENTS
        if (kept := read_state(path)) is not None:
            return images, kept[0]["latents"]
        latents = autoencoded(load_model(testbed.base_path(), device=self.device), images)
        if run.folder is not None:
            write_state(path, {"latents": latents}, {})
        return images, latents


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then the rows of the methods: means over seeds, and the intervals of the first one."""
    rows = dict[str, dict[str, Any]]()
    for name in dict.fromkeys(key.partition(" / ")[0] for key in recorded):
        own = [row for key, row in recorded.items() if key.startswith(f"{name} / ")]
        numbers = [key for key, value in own[0].items() if isinstance(value, int | float)]
        means = {key: float(np.mean([row[key] for row in own])) for key in numbers}
        rows[name] = {
            **means,
            "precision_gain": means["precision_after"] - means["precision_before"],
            "found_gain_interval": own[0]["found_gain_interval"],
            "nearest_gain_interval": own[0]["nearest_gain_interval"],
            "found_gains": [row["found_gain"] for row in own],
            "seeds": len(own),
        }
    first = next(iter(rows.values()))
    flat = {f"{key}_before": first[f"{key}_before"] for key in ("found", "nearest", "precision")}
    flat |= {f"found_gain_{name.replace('-', '_')}": row["found_gain"] for name, row in rows.items()}
    return {**flat, "seconds": seconds, "machine": machine(), "versions": versions(), "rows": rows}
