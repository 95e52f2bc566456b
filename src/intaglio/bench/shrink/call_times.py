"""Seconds of a call of the network, by precision and batch: packed weights are computed dense, or as integers."""

import statistics
import time
from typing import Any

import torch

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.packing.int8_kernels import use_int8
from intaglio.shrink.calibration_states import drawn_states
from intaglio.shrink.methods.ptq4dm import PTQ4DM

BATCHES = (1, 8)
PRECISIONS = (torch.float32, torch.bfloat16)
CALIBRATION_ROWS = 32
"""States that the ranges of inputs are fixed from for the times of integers, which do not depend on them."""


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
        taken: dict[str, list[float]] = {name: [] for name in twins}
        for _ in range(5 if quick else 25):
            for name, twin in twins.items():
                taken[name].append(_seconds(twin, batch))
        for name, seconds in taken.items():
            found[name].append(1000 * statistics.median(seconds[1:]))
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


@torch.no_grad()
def _seconds(model: LatentDiffusion, batch: int) -> float:
    side = model.resolution // model.factor
    latents = torch.zeros(batch, model.latent_channels, side, side, device=model.device)
    given, t = model.embed([""])[[0] * batch], torch.full((batch,), 500, device=model.device)
    with model.frozen():
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        began = time.perf_counter()
        model.predict(latents, t, given)
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        return time.perf_counter() - began
