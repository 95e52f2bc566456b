"""Keys and values of a prompt in a U-Net's cross-attention, computed once and kept: they depend on the prompt alone.

A prompt is known again by its content, number for number, and weights by their identity and version, so that nothing
kept is ever taken for another. Where a gradient of the prompt or of the projection is taken, all is computed, in full.
"""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.models.diffusion.token_stairs import Stairs, StoredStair, restored

SETTING = "text_cache"
"""Entry of a U-Net's config with `bits` and `lengths` of the stairs that keys and values are kept in."""
PROMPTS = 4
"""Batches of prompts that are kept, those used last."""
CROSS, PROJECTIONS = "attn2", ("to_k", "to_v")
"""Names of the modules that attend to a prompt, and of their projections of it."""


@dataclass(eq=False)
class KeptPrompt:
    """A batch of prompts, and what projections gave for it."""

    text: Float[Tensor, "n l d"]
    found: dict[str, tuple[tuple[Any, ...], tuple[StoredStair, ...]]] = field(default_factory=dict)
    """By the projection's name: the weights that it was computed with, and the numbers."""
    unpacked: dict[str, tuple[Tensor, int | None]] = field(default_factory=dict)
    """By the projection's name, of the batch that was used last alone: the numbers as they are given, and their
    version, by which a change of them is known."""

    def holds(self, text: Tensor) -> bool:
        """Whether these are the same prompts, number for number."""
        mine = self.text
        return mine.dtype == text.dtype and mine.device == text.device and torch.equal(mine, text)


class TextCache:
    """The prompts of a network; a copy of the network begins with none."""

    def __init__(self) -> None:
        self.prompts: list[KeptPrompt] = []
        """The one used last at the end, whose numbers are unpacked beside those that are kept."""
        self._asked: tuple[weakref.ref[Tensor] | None, int | None] = (None, None)
        """The text that was asked for last, and its version: asked again unchanged it is not compared."""

    def of(self, text: Float[Tensor, "n l d"]) -> KeptPrompt:
        """The kept batch of this text; a new one takes the place of that which was used longest ago."""
        last, version = self._asked
        if self.prompts and last is not None and last() is text and version is not None and version == _version(text):
            return self.prompts[-1]
        one = next((kept for kept in reversed(self.prompts) if kept.holds(text)), None)
        others = [kept for kept in self.prompts if kept is not one]
        if one is None:
            one, others = KeptPrompt(text.detach().clone()), others[1 - PROMPTS :]
        for other in others:
            other.unpacked.clear()
        self.prompts, self._asked = [*others, one], (weakref.ref(text), _version(text))
        return one

    @property
    def bytes(self) -> int:
        """Of the kept keys and values."""
        return sum(stair.bytes for one in self.prompts for _, stairs in one.found.values() for stair in stairs)

    def __deepcopy__(self, memo: dict[int, Any]) -> "TextCache":
        return TextCache()


class CachedProjection(nn.Linear):
    """A projection of prompts to keys or values that computes those of a prompt once."""

    cache: TextCache
    stairs: Stairs
    head_width: int
    place: str

    def forward(self, input: Float[Tensor, "n l d"]) -> Float[Tensor, "n l o"]:
        """The projection as it is kept, also in the call that computes it."""
        if not self._is_settled(input):
            return super().forward(input)
        kept, weights = self.cache.of(input), self._weights()
        known = kept.found.get(self.place)
        if known is None or not _same(known[0], weights):
            heads = super().forward(input).detach().unflatten(-1, (-1, self.head_width))
            known = kept.found[self.place] = (weights, self.stairs.store(heads))
            kept.unpacked.pop(self.place, None)
        numbers, version = kept.unpacked.get(self.place, (None, None))
        if numbers is None or version is None or version != _version(numbers):
            numbers = restored(known[1], input.dtype).flatten(-2)
            kept.unpacked[self.place] = (numbers, _version(numbers))
        return numbers

    def _is_settled(self, given: Tensor) -> bool:
        """Whether it depends on values that are there, and no gradient of it is taken."""
        weights = [one for one in (self.weight, self.bias) if one is not None]
        if given.is_meta or not all(isinstance(one, nn.Parameter) for one in weights):
            return False
        return not (torch.is_grad_enabled() and any(one.requires_grad for one in (given, *weights)))

    def _weights(self) -> tuple[Any, ...]:
        """Marks of the present weights: the tensors, their places in memory and their versions."""
        present = [one for one in (self.weight, self.bias) if one is not None]
        return tuple((one, one.data_ptr(), one._version) for one in present)


def cache_text(denoiser: Any, stairs: Stairs) -> None:
    """Lets a U-Net keep the keys and values of its prompts in these stairs, in place; its config notes them."""
    cache = TextCache()
    for name, attention in _attentions(denoiser).items():
        for key in PROJECTIONS:
            layer: Any = getattr(attention, key)
            layer.__class__ = CachedProjection
            layer.cache, layer.stairs, layer.place = cache, stairs, f"{name}.{key}"
            layer.head_width = layer.out_features // attention.heads
    denoiser.register_to_config(**{SETTING: {"bits": list(stairs.bits), "lengths": list(stairs.lengths)}})


def attends_to_prompts(denoiser: nn.Module) -> bool:
    """Whether a U-Net has cross-attention to a prompt."""
    return bool(_attentions(denoiser))


def _attentions(denoiser: nn.Module) -> dict[str, Any]:
    named = denoiser.named_modules()
    return {name: one for name, one in named if name.rpartition(".")[2] == CROSS and isinstance(one, Attention)}


def stairs_of(given: Mapping[str, Any]) -> Stairs:
    """The stairs that a config names. Raises `ValueError` for such as there are none."""
    return Stairs(tuple(given["bits"]), tuple(given.get("lengths") or ()))


def cached_projections(denoiser: nn.Module) -> dict[str, CachedProjection]:
    """The projections whose results are kept, by name."""
    return {name: module for name, module in denoiser.named_modules() if isinstance(module, CachedProjection)}


def _version(tensor: Tensor) -> int | None:
    """Number of the changes of a tensor in place; None where these are not counted."""
    return None if tensor.is_inference() else tensor._version


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a[0] is b[0] and a[1:] == b[1:] for a, b in pairs)
