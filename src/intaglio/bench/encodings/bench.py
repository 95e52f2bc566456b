"""`intaglio bench encodings`: what slots of an encoding make up and tell of emoji, and what swapping them changes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.bench.kit.distinct_pictures import distinct_pictures
from intaglio.bench.kit.methods import default_methods
from intaglio.explain.encodings.encoding_networks import PictureEncoder
from intaglio.explain.encodings.family import ENCODING, SlottedEncoding
from intaglio.explain.encodings.label_slots import LabelSlots, label_slots
from intaglio.explain.encodings.noise_slots import NoiseSlots
from intaglio.explain.encodings.result import PictureEncodings
from intaglio.explain.features.feature_cells import ProbedNetworks
from intaglio.explain.features.methods.denoiser import DenoiserProbe
from intaglio.explain.probe_scores import difference_interval
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.printable import aligned
from intaglio.randomness import first_weights
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "explain encodings"
CORE = "diti"
LABELS = ("artist", "kind")
QUICK: Mapping[str, Any] = {"steps": 250, "levels": 32, "pairs": 6}
PAIRS = 12
SITE, TIMESTEP = "up_blocks.1", 20
"""The denoiser's site whose features are read beside: that of the most for the kind in `bench features`."""
UNTRAINED, DENOISER = "untrained", "denoiser"
KEPT = ("early", "late")
"""Parts of the slots whose swap is asked about."""


@dataclass(frozen=True, kw_only=True)
class EncodingsBench:
    """Encodings of emoji: what they make up, which labels they tell, what swapped slots change.

    The encoders learn from all distinct pictures that ship, without labels; artist and kind are read, by 64 numbers and
    in folds of whole subjects, for the 223 pictures whose subjects no embedded classifier has seen. `untrained` is the
    encoder before its training, `denoiser` 64 principal components of what a block of the frozen denoiser gives at
    t = 20. `ahead` is how much further `diti` is, on the same pictures, with its 95% interval. `kept` is how often the
    embedded classifier calls a drawing with swapped slots what it calls the first picture's own.
    """

    quick: bool = False
    """Short trainings and few drawings: minutes."""
    seed: int = 0
    """Of networks, order, noise and folds, 0 to 2**31."""
    device: str = "cpu"
    """Where the embedded model computes, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= 2**31:
            raise ValueError(f"seed must be 0 to 2**31, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        changes = dict(QUICK) if self.quick else {"pairs": PAIRS}
        methods: dict[str, SlottedEncoding] = default_methods(VERB, seed=self.seed, **changes)
        model = load_model(testbed.base_path(), device=self.device)
        settings = {"methods": {name: asdict(one) for name, one in methods.items()}}
        inputs = {"model": {"path": "testbed", "sha256": model.fingerprint}}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "encodings", settings, inputs, **about) as run:
            if run.status != "done":
                self._measure(methods, model, run)
                run.finish(figures_of(run.recorded("row"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        lines: list[Sequence[str]] = [
            ("row", "made up", *LABELS, *(f"{one} {part}" for one in LABELS for part in KEPT))
        ]
        for name, row in figures["rows"].items():
            kept = [_words(row["kept"].get(f"{one} {part}")) for one in LABELS for part in KEPT]
            lines.append((name, _words(row["made_up"]), *(_words(row[one]["accuracy"]) for one in LABELS), *kept))
        return aligned(lines)

    def _measure(self, methods: Mapping[str, SlottedEncoding], model: LatentDiffusion, run: Run) -> None:
        images, labels, subjects = labelled_pictures()
        core = methods[CORE]
        left = [name for name in (UNTRAINED, DENOISER, *methods) if name not in run.recorded("row")]
        with run.progress(len(methods) + 2, "rows", len(methods) + 2 - len(left)) as progress:
            for name in left:
                began = time.monotonic()
                if name in methods:
                    row = encoded_row(methods[name](model, images, labels, subjects))
                else:
                    codes = untrained(core, images) if name == UNTRAINED else denoised(core, model, images, labels)
                    slots = NoiseSlots((model.schedule.count,), (codes.shape[1],))
                    read = label_slots(codes, slots, labels, subjects, core.folds, core.strength, core.seed)
                    row = {"made_up": None, "kept": {}, **_answers(read)}
                run.record("row", name, {**row, "seconds": time.monotonic() - began})
                progress.advance()


def labelled_pictures() -> tuple[ImageSet, dict[str, list[str]], list[str]]:
    """All distinct pictures, the labels of those whose subjects no classifier has seen, and subjects."""
    _, pixels, captions = distinct_pictures()
    images = ImageSet.from_pixels(pixels, captions=captions)
    held, told = testbed.held_out_pictures()
    known = dict(zip(held.hashes, told, strict=True))
    labels = {label: [known.get(content, {}).get(label, "") for content in images.hashes] for label in LABELS}
    return images, labels, [caption.partition(",")[0] for caption in captions]


@torch.no_grad()
def untrained(method: SlottedEncoding, images: ImageSet) -> Float[np.ndarray, "n z"]:
    """Numbers of an encoder before its training."""
    with first_weights(method.seed, ENCODING):
        encoder = PictureEncoder(method.numbers)
    return encoder(images.pixels).double().numpy()


def denoised(
    method: SlottedEncoding, model: LatentDiffusion, images: ImageSet, labels: Mapping[str, Sequence[str]]
) -> Float[np.ndarray, "n z"]:
    """As many principal components of the labelled pictures' mean maps at a site of the denoiser; 0 for the others."""
    places = [k for k, text in enumerate(labels[LABELS[0]]) if text]
    probe = DenoiserProbe(sites=(SITE,), timesteps=(TIMESTEP,), pool=1, noises=1, seed=method.seed)
    (rows,) = probe.read(ProbedNetworks(model=model), images[places]).values.values()
    centred = rows.double() - rows.double().mean(0)
    kept = torch.linalg.svd(centred, full_matrices=False)[0][:, : method.numbers]
    found = np.zeros((len(images), kept.shape[1]))
    found[places] = kept.numpy()
    return found


def encoded_row(found: PictureEncodings) -> dict[str, Any]:
    """Figures of an encoding."""
    figures = found.figures()
    return {
        "made_up": figures["made_up"],
        "made_up_interval": figures["made_up_interval"],
        "made_up_by_slot": list(found.made_up),
        "ends": list(found.slots.ends),
        "kept": {} if found.swapped is None else kept_calls(found.swapped, found.drawings),
        **_answers(found.labels),
    }


def kept_calls(swapped: Float[Tensor, "p r 3 h w"], drawings: Sequence[str]) -> dict[str, float]:
    """Shares of drawings with each swap, and with all numbers (`whole`), that are called as the first one's own."""
    classifier = testbed.classifier()
    with torch.no_grad():
        answers = classifier(swapped.flatten(0, 1).clamp(0, 1))
    found = {}
    for label in LABELS:
        called = answers[label].argmax(1).view(swapped.shape[:2])
        same = (called == called[:, :1]).float().mean(0).tolist()
        names = ["whole" if name == "second" else name for name in drawings]
        found |= {f"{label} {name}": share for name, share in zip(names[1:], same[1:], strict=True)}
    return found


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then every row."""
    plain = ("truth", "groups", "answers")
    rows = {
        name: {
            key: {k: v for k, v in one.items() if k not in plain} if key in LABELS else one for key, one in row.items()
        }
        for name, row in recorded.items()
    }
    flat = {
        f"{label}_{name.replace('-', '_')}": row[label]["accuracy"] for name, row in rows.items() for label in LABELS
    }
    flat |= {
        f"made_up_{name.replace('-', '_')}": row["made_up"] for name, row in rows.items() if row["made_up"] is not None
    }
    ahead = {
        name: {label: _difference(recorded[CORE][label], row[label]) for label in LABELS}
        for name, row in recorded.items()
        if name != CORE
    }
    return {**flat, "ahead": ahead, "seconds": seconds, "machine": machine(), "versions": versions(), "rows": rows}


def _answers(read: Sequence[LabelSlots]) -> dict[str, Any]:
    return {
        one.column: {
            "accuracy": one.accuracies[-1],
            "interval": list(one.intervals[-1]),
            "by_slot": list(one.accuracies[:-1]),
            "best_slot": one.best + 1,
            "chance": one.chance,
            "truth": one.truth.tolist(),
            "groups": one.groups.tolist(),
            "answers": one.predicted[-1].tolist(),
        }
        for one in read
    }


def _difference(mine: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Balanced accuracy of one less that of another, with its interval over the same groups of pictures."""
    truth, groups, first = (np.array(mine[key]) for key in ("truth", "groups", "answers"))
    second = np.array(other["answers"])
    return {
        "difference": mine["accuracy"] - other["accuracy"],
        "interval": list(difference_interval(truth, first, second, groups)),
    }


def _words(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
