"""A sharpened encoder and what changed; stored and read again.

`sharpening.safetensors` in the run's folder has the measures, `sharpening.csv` a line a held-out picture, and
`encoder.safetensors` the encoder, which `--similarity` reads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.explain.sharpening.copy_checks import CopyScores, found_among_twins
from intaglio.metrics.similarity.encoder import Encoder, save_encoder
from intaglio.metrics.statistics.interval import interval
from intaglio.runs.stored_table import StoredTable

ENCODER_FILE = "encoder.safetensors"
"""Name of the sharpened encoder's file."""
GUARD = 0.9
"""Mean cosine of old and new descriptors below which the encoder has drifted."""
TOLD = 1.01
"""Ratio of the losses with another picture's descriptor and its own, below which the descriptor tells nothing."""
ARRAYS = ("kept", "loss_before", "loss_after", "loss_mistaken")
SIDES = ("before", "after")
COLUMNS = [
    "picture", "cosine_kept", "loss_before", "loss_after", "nearest_before", "nearest_after", "copy_before",
    "copy_after",
]  # fmt: skip
AT_ONCE = 100
"""Resamples at once."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SharpenedEncoder(StoredTable):
    """An encoder after its sharpening, and measures of m held-out pictures with it and without."""

    file: ClassVar[str] = "sharpening.safetensors"
    table: ClassVar[str] = "sharpening.csv"
    remedy: ClassVar[str] = "the same command sharpens again"

    method: str
    of: str
    """Name of the encoder that was sharpened."""
    learnt: int
    """Pictures that it learnt from."""
    names: tuple[str, ...]
    """Of the held-out pictures."""
    kept: Float[ndarray, "m"]
    """Cosine of the old and the new descriptor."""
    loss_before: Float[ndarray, "m"]
    """Error of the taught generator that is told the old descriptor."""
    loss_after: Float[ndarray, "m"]
    """The same of the new one."""
    loss_mistaken: Float[ndarray, "m"]
    """The same of another picture's new one."""
    before: CopyScores
    after: CopyScores
    widths: tuple[int, int, int]
    size: int
    weights: Mapping[str, Tensor]
    """Of the sharpened encoder, as its file has them."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Encoder {self.of} sharpened by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def encoder(self) -> Encoder:
        """The sharpened encoder, in evaluation mode."""
        with torch.random.fork_rng(devices=[]):
            made = Encoder(self.widths, len(self.weights["head.bias"]), self.size)
        made.load_state_dict(dict(self.weights), strict=False)
        return made.eval().requires_grad_(False)

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        figures = self.figures()
        (low, high), (below, above) = figures["nearest_gain_interval"], figures["found_gain_interval"]
        return (
            f"The nearest picture of a changed copy is its original for {figures['nearest_after']:.3f} of copies in "
            f"place of {figures['nearest_before']:.3f} (gain 95% {low:+.3f} to {high:+.3f}); where 1% of twins are "
            f"taken for originals, {figures['found_after']:.3f} are found in place of {figures['found_before']:.3f} "
            f"(gain 95% {below:+.3f} to {above:+.3f}); descriptors keep a cosine of {figures['cosine_kept']:.3f}."
        )

    @property
    def warnings(self) -> list[str]:
        """Sentences on what the result cannot be trusted for."""
        found, figures = [], self.figures()
        if figures["cosine_kept"] < GUARD:
            found.append(
                f"descriptors keep a cosine of {figures['cosine_kept']:.2f} to the old ones, below {GUARD}: it is "
                "another encoder, and thresholds of the old one do not hold; give a lower --encoder-rate"
            )
        if figures["loss_mistaken"] < TOLD * figures["loss_after"]:
            found.append(
                "the generator draws as well from another picture's descriptor, so that it teaches the encoder "
                "nothing; give more --generator-steps"
            )
        if max(figures["nearest_gain_interval"][0], figures["found_gain_interval"][0]) <= 0:
            found.append("changed copies are found no better than before, as far as these pictures can tell")
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a held-out picture; the keys are `COLUMNS`."""
        return [
            {
                "picture": name,
                "cosine_kept": float(self.kept[k]),
                "loss_before": float(self.loss_before[k]),
                "loss_after": float(self.loss_after[k]),
                "nearest_before": float(self.before.hits[k].mean()),
                "nearest_after": float(self.after.hits[k].mean()),
                "copy_before": float(self.before.own[k].mean()),
                "copy_after": float(self.after.own[k].mean()),
            }
            for k, name in enumerate(self.names)
        ]

    def figures(self) -> dict[str, Any]:
        """Every measure before and after, and the gains with 95% intervals over pictures."""
        found: dict[str, Any] = {"pictures": len(self.names), "learnt": self.learnt}
        found["cosine_kept"] = float(self.kept.mean())
        found |= {name: float(getattr(self, name).mean()) for name in ARRAYS[1:]}
        for name, measure in (("nearest", _nearest), ("found", _found)):
            sides = [float(measure(side, np.arange(len(self.names)))) for side in (self.before, self.after)]
            found |= {f"{name}_before": sides[0], f"{name}_after": sides[1], f"{name}_gain": sides[1] - sides[0]}
            found[f"{name}_gain_interval"] = list(self._gain(measure))
        found |= {f"precision_{side}": getattr(self, side).precision for side in SIDES}
        return found

    def _gain(self, measure: Callable[[CopyScores, ndarray], ndarray]) -> tuple[float, float]:
        def gains(places: ndarray) -> ndarray:
            chosen = places.astype(int)
            return measure(self.after, chosen) - measure(self.before, chosen)

        return interval(gains, [np.arange(len(self.names))], batch=AT_ONCE)

    def save(self, folder: Path) -> None:
        """Writes the measures and the encoder into a folder, each atomically."""
        super().save(folder)
        card = {"sharpened_from": self.of, "sharpened_by": self.method}
        save_encoder(self.encoder, Path(folder) / ENCODER_FILE, card)

    def _parts(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        arrays = {name: getattr(self, name) for name in ARRAYS}
        for side in SIDES:
            scores: CopyScores = getattr(self, side)
            arrays |= {f"{side}/own": scores.own, f"{side}/twins": scores.twins}
            arrays |= {f"{side}/hits": scores.hits.astype(np.uint8)}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(one)) for name, one in arrays.items()}
        tensors |= {f"encoder/{name}": weight.cpu() for name, weight in self.weights.items()}
        about: dict[str, Any] = {name: getattr(self, name) for name in ("method", "of", "learnt", "size")}
        about |= {"names": list(self.names), "widths": list(self.widths)}
        return tensors, {**about, "precision": [getattr(self, side).precision for side in SIDES]}

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "SharpenedEncoder":
        names, arrays = tuple(map(str, about["names"])), {name: tensors[name].numpy() for name in ARRAYS}
        if not names or any(len(one) != len(names) for one in arrays.values()):
            raise ValueError("the pictures are not as many as their names")
        sides = [
            CopyScores(
                tensors[f"{side}/own"].numpy(),
                tensors[f"{side}/twins"].numpy(),
                tensors[f"{side}/hits"].numpy().astype(bool),
                float(about["precision"][k]),
            )
            for k, side in enumerate(SIDES)
        ]
        fine, middle, coarse = map(int, about["widths"])
        weights = {name.removeprefix("encoder/"): one for name, one in tensors.items() if name.startswith("encoder/")}
        return cls(
            method=str(about["method"]), of=str(about["of"]), learnt=int(about["learnt"]), names=names,
            widths=(fine, middle, coarse), size=int(about["size"]), weights=weights, before=sides[0],
            after=sides[1], **arrays,
        )  # fmt: skip


def _nearest(scores: CopyScores, places: ndarray) -> ndarray:
    """Share of copies whose nearest picture is their original; places [..., m] to [...]."""
    return np.asarray(scores.hits[places].mean((-2, -1)))


def _found(scores: CopyScores, places: ndarray) -> ndarray:
    """Share of copies found at 1% of twins; places [..., m] to [...]."""
    return found_among_twins(scores.own[places], scores.twins[places])
