"""Seconds of a call of the network, by precision and batch, and of a layer that mixes places, by its grid."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_processor import Attention

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.long_convolutions import LongConvolution
from intaglio.models.packing.int8_kernels import use_int8
from intaglio.shrink.calibration_states import drawn_states
from intaglio.shrink.call_seconds import call_seconds, median_seconds
from intaglio.shrink.methods.ptq4dm import PTQ4DM

BATCHES = (1, 8)
PRECISIONS = (torch.float32, torch.bfloat16)
CALIBRATION_ROWS = 32
"""States that the ranges of inputs are fixed from for the times of integers, which do not depend on them."""
CHANNELS, HEADS = 320, 8
"""Of the layer with the largest grid in Stable Diffusion 1."""
SIDES = (8, 16, 32, 64)
"""Places a side of the grids; 64 at 512 pixels."""


def call_times(model: LatentDiffusion, *, quick: bool) -> dict[str, Any]:
    """Median milliseconds of a call at batches of 1 and 8 in float32, bfloat16 and int8, taken in turns.

    int8 is the model with weights and inputs of 8 bits, computed with integers; it is left out where this machine has
    no kernels for it. `seconds_ratio_w8` is its time at batch 8 over that in float32.
    """
    twins = {str(precision).removeprefix("torch."): model.copy().to(dtype=precision) for precision in PRECISIONS}
    if (integers := _with_integers(model)) is not None:
        twins["int8"] = integers
    found: dict[str, list[float]] = {name: [] for name in twins}
    for batch in BATCHES:
        for name, seconds in call_seconds(twins, batch, 4 if quick else 24).items():
            found[name].append(1000 * seconds)
    ratio = found["int8"][-1] / found["float32"][-1] if "int8" in found else None
    return {"call_ms": found, "seconds_ratio_w8": ratio}


def _with_integers(model: LatentDiffusion) -> LatentDiffusion | None:
    if model.device.type != "cpu":
        return None
    shrinker = PTQ4DM(times="even")
    found = shrinker(model, drawn_states(model, ("",), CALIBRATION_ROWS))
    twin = found.model.copy()
    try:
        use_int8(twin.denoiser, found.packed["denoiser"])
    except BadInput:
        return None
    return twin


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
