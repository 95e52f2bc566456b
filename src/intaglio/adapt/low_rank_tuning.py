"""Low-rank updates as what a method trains: their settings and the adapter, which LoRA and its private form share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch

from intaglio.adapt.family import FineTuner
from intaglio.adapt.trainable import Trainable
from intaglio.errors import BadInput, require
from intaglio.models.diffusion.families.family import Family
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.packed_base import BasePrecision, PackedBase
from intaglio.models.lora.lora import DENOISER_TARGETS, LoRA
from intaglio.randomness import generator_32bit

FURTHER_TARGETS = ("ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "conv2")
"""Endings of the paths of the feed-forward layers and convolutions of the denoiser."""


@dataclass(frozen=True, kw_only=True)
class LowRankTuning(FineTuner):
    """The low-rank updates of a fine-tune that trains an adapter.

    Each target's weight W [out, in] acts as W + alpha / rank * up @ down, where down [rank, in] starts random and up
    [out, rank] at zero, so that training begins at the base itself (arXiv 2106.09685); W stays.
    """

    gives: ClassVar[Literal["model", "adapter"]] = "adapter"

    rank: int = 4
    """Columns of each update, at least 1; its parameters grow with it."""
    alpha: float | None = None
    """The update is multiplied by alpha / rank; None takes the rank, which multiplies by 1."""
    down: Literal["kaiming", "gaussian"] = "kaiming"
    """How down starts: uniform in +-1 / sqrt(in), as adapters mostly do, or N(0, 1 / rank^2), as in the Bayesian paper;
    the second is larger, and makes a step of the same rate longer."""
    targets: tuple[str, ...] = DENOISER_TARGETS
    """Endings of the paths of the linear layers and convolutions that are trained. The default takes all projections of
    attention, in a transformer of two streams those of the text too."""
    base_precision: Literal["stored", "nf4", "int8"] = "stored"
    """Memory of the frozen weights of the denoiser's linear layers: as they are, or packed in blocks of 64 numbers, in
    4.25 bits each at levels of the normal distribution (nf4, arXiv 2305.14314) or in 8.25. They are unpacked where they
    act, and computed with in `precision`; the update stays float32."""
    random_targets: tuple[str, ...] = ("up",)
    """Which ups are random: those whose path holds one of these, between dots; `up` takes all of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.rank >= 1, f"rank must be at least 1, not {self.rank}")
        require(self.alpha is None or self.alpha > 0, f"alpha must be above 0, or None for the rank: {self.alpha}")
        require(bool(self.targets), "targets must name at least one ending, such as to_q")
        known = get_args(BasePrecision)
        require(
            self.base_precision in known,
            f"base_precision must be one of {', '.join(known)}, not {self.base_precision!r}",
        )

    def base_of(self, model: LatentDiffusion) -> LatentDiffusion:
        """The model, packed where that is asked for and not done yet."""
        return model if self.base_precision == "stored" else PackedBase.of(model, self.base_precision)

    def trainable(self, model: LatentDiffusion) -> Trainable:
        """Down and up of every target; each up may be random, scaled by what its down's deviation lacks of 1 / rank."""
        adapter = self._adapter(model)
        weights, scales = {}, {}
        for part, path, layer in adapter.pairs():
            weights |= {f"{part}.{path}.down": layer.down, f"{part}.{path}.up": layer.up}
            scales[f"{part}.{path}.up"] = 1 / (self.rank * float(layer.down.detach().square().mean().sqrt()))
        return Trainable(weights, scales, adapter, _on_rank(adapter, self.rank))

    def _adapter(self, model: LatentDiffusion) -> LoRA:
        """A fresh adapter that changes nothing yet."""
        slots = model.family.texts[: len(model.text_encoders)] if self.text_encoder else ()
        inside = dict.fromkeys(target for slot in slots for target in slot.targets)
        targets = (*of_family(self.targets, model.family), *inside)
        alpha = float(self.rank if self.alpha is None else self.alpha)
        try:
            adapter = LoRA.new(model, self.rank, alpha, targets, generator_32bit(self.seed, "adapter"))
        except ValueError as error:
            raise BadInput(f"{model.name} does not have all targets: {error}; name others with --targets") from error
        if self.down == "gaussian":
            _redraw(adapter, self.rank, self.seed)
        if not self.text_encoder and (outside := [part for part, *_ in adapter.items() if part != "denoiser"]):
            raise BadInput(f"Some targets lie in the {outside[0]}; add --text-encoder, or name others.")
        return adapter


def of_family(targets: Sequence[str], family: Family) -> tuple[str, ...]:
    """Targets in a family's names, where they hold all of `DENOISER_TARGETS`, or of `FURTHER_TARGETS` too."""
    found = tuple(targets)
    for usual, own in ((DENOISER_TARGETS, family.targets), (FURTHER_TARGETS, family.further_targets)):
        if set(usual) <= set(found):
            found = (*own, *(target for target in found if target not in (*usual, *own)))
    return found


def _on_rank(adapter: LoRA, rank: int) -> tuple[str, ...]:
    """A warning of layers whose change has fewer dimensions than the rank."""
    least = {path: min(layer.up.shape[0], layer.down[0].numel()) for _, path, layer in adapter.pairs()}
    narrow = [path for path, count in least.items() if count < rank]
    if not narrow:
        return ()
    return (
        f"rank {rank} is above the smaller side of {len(narrow)} of {len(least)} layers (first: {narrow[0]}, "
        f"{least[narrow[0]]}), which learn no more by it; a --rank of {max(least.values())} is enough for all",
    )


def _redraw(adapter: LoRA, rank: int, seed: int) -> None:
    """Every down from N(0, 1 / rank^2)."""
    random = generator_32bit(seed, "adapter", "gaussian")
    with torch.no_grad():
        for _, _, layer in adapter.pairs():
            layer.down.copy_(torch.randn(layer.down.shape, generator=random) / rank)
