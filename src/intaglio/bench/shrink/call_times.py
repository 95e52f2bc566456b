"""Seconds of a call of the network, by precision and batch: a packed model is computed dense."""

import statistics
import time
from typing import Any

import torch

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

BATCHES = (1, 8)
PRECISIONS = (torch.float32, torch.bfloat16)


def call_times(model: LatentDiffusion, *, quick: bool) -> dict[str, Any]:
    """Median milliseconds of a call at batches of 1 and 8 in float32 and bfloat16, taken in turns."""
    twins = {str(precision).removeprefix("torch."): model.copy().to(dtype=precision) for precision in PRECISIONS}
    found: dict[str, list[float]] = {name: [] for name in twins}
    for batch in BATCHES:
        taken: dict[str, list[float]] = {name: [] for name in twins}
        for _ in range(5 if quick else 25):
            for name, twin in twins.items():
                taken[name].append(_seconds(twin, batch))
        for name, seconds in taken.items():
            found[name].append(1000 * statistics.median(seconds[1:]))
    return {"call_ms": found}


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
