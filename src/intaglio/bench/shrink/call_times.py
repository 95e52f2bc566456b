"""Seconds of a call of the network, by precision and batch, and of a layer that mixes places, by its grid."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_processor import Attention

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.long_convolutions import LongConvolution
from intaglio.shrink.call_seconds import call_seconds, median_seconds

BATCHES = (1, 8)
PRECISIONS = (torch.float32, torch.bfloat16)
CHANNELS, HEADS = 320, 8
"""Of the layer with the largest grid in Stable Diffusion 1."""
SIDES = (8, 16, 32, 64)
"""Places a side of the grids; 64 at 512 pixels."""


def call_times(model: LatentDiffusion, *, quick: bool) -> dict[str, Any]:
    """Median milliseconds of a call at batches of 1 and 8 in float32 and bfloat16, taken in turns.

    A packed model is computed as a dense one.
    """
    twins = {str(precision).removeprefix("torch."): model.copy().to(dtype=precision) for precision in PRECISIONS}
    found: dict[str, list[float]] = {name: [] for name in twins}
    for batch in BATCHES:
        for name, seconds in call_seconds(twins, batch, 4 if quick else 24).items():
            found[name].append(1000 * seconds)
    return {"call_ms": found}


def grid_times(*, quick: bool) -> dict[str, Any]:
    """Median milliseconds of a self-attention and of a long convolution of 320 channels, by places a side.

    On the CPU in float32, one row.
    """
    found: dict[str, list[float]] = {"self_attention": [], "long_convolution": []}
    for side in SIDES[:2] if quick else SIDES:
        for name, seconds in median_seconds(_layers(side), 2 if quick else 8).items():
            found[name].append(1000 * seconds)
    return {"grid_sides": list(SIDES[: len(found["self_attention"])]), "grid_ms": found}


def _layers(side: int) -> dict[str, Callable[[], object]]:
    hidden = torch.full((1, side * side, CHANNELS), 0.5)
    with torch.device("meta"):  # where no weights are drawn from the global generator
        attention = Attention(CHANNELS, heads=HEADS, dim_head=CHANNELS // HEADS)
        layers = {"self_attention": attention, "long_convolution": LongConvolution(CHANNELS, side)}
    filled = {name: _filled(layer.to_empty(device="cpu")) for name, layer in layers.items()}
    return {name: lambda layer=layer: _called(layer, hidden) for name, layer in filled.items()}


@torch.no_grad()
def _filled(layer: torch.nn.Module) -> torch.nn.Module:
    for weight in layer.parameters():
        weight.fill_(0.01)
    return layer.eval()


@torch.no_grad()
def _called(layer: torch.nn.Module, hidden: torch.Tensor) -> None:
    layer(hidden)
