"""Seconds of a call of several networks, taken in turns, so that what else the machine does meets all alike."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


def call_seconds(models: Mapping[str, LatentDiffusion], batch: int, count: int) -> dict[str, float]:
    """Median seconds of a prediction of `batch` rows by name, over `count` calls of each after a first one."""
    return median_seconds({name: _call(model, batch) for name, model in models.items()}, count)


def median_seconds(calls: Mapping[str, Callable[[], object]], count: int) -> dict[str, float]:
    """Median seconds of each of these by name, over `count` calls of each after a first one, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(count + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}


def _call(model: LatentDiffusion, batch: int) -> Callable[[], object]:
    side, device = model.resolution // model.factor, model.device
    latents = torch.zeros(batch, model.latent_channels, side, side, device=device)
    given, t = model.embed([""])[[0] * batch], torch.full((batch,), 500, device=device)

    def call() -> None:
        with torch.no_grad(), model.frozen():
            model.predict(latents, t, given)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return call
