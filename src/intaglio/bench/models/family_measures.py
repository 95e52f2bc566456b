"""Figures of one family: latents beside those of diffusers, seconds a step, memory of a training beside its plan."""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.bench.models.measured_peak import peak_bytes
from intaglio.bench.models.pipeline_draws import pipeline_latents
from intaglio.bench.models.random_models.random_pipelines import PIPELINES, folder_of
from intaglio.bench.models.random_models.wider import WIDER
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import latent_batches
from intaglio.sampling.start import GivenLatents

PROMPTS = ["a red cat", "dog", "a dog", "red"]
STEPS, SCALES = 5, (1.0, 4.0)
"""Steps and guidance scales of the drawings that are compared; 1 is no guidance."""
TIMED_STEPS = 8
BATCH = 4
SHORT, LONG = 2, 6
"""Steps of two trainings, whose difference in time is that of steps alone."""


def family_figures(kind: str, *, seed: int, device: str, repeats: int) -> dict[str, Any]:
    """All figures of a kind in `WIDER`, on a random model of a few million weights with pictures of 16 pixels."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of diffusers' own solvers
        path = folder_of(kind, Path(folder) / kind, seed, **WIDER[kind])
        model = load_model(path, device=device)
        pipe = PIPELINES[kind](seed, **WIDER[kind]).to(device)
        pipe.set_progress_bar_config(disable=True)
        return {
            "family": model.family.name,
            "weights": sum(weight.numel() for weight in model.denoiser.parameters()),
            "difference": _difference(kind, model, pipe, seed),
            **_drawing_seconds(kind, model, pipe, seed, repeats),
            **_training_figures(model, seed, repeats),
        }


def _difference(kind: str, model: LatentDiffusion, pipe: Any, seed: int) -> float:
    """Largest difference of clean latents, over the largest entry where that is above 1."""
    start, found = _noise(model, seed), []
    for scale in SCALES:
        theirs = pipeline_latents(kind, pipe, PROMPTS, start, STEPS, scale).cpu()
        difference = (_drawn(model, start, STEPS, scale).cpu() - theirs).abs().max() / theirs.abs().max().clamp(min=1)
        found.append(float(difference))
    return max(found)


def _drawing_seconds(kind: str, model: LatentDiffusion, pipe: Any, seed: int, repeats: int) -> dict[str, Any]:
    """Seconds of a guided step of four pictures, here and in diffusers, by turns; prompts are embedded in both."""
    start = _noise(model, seed)
    calls: tuple[Callable[[], Tensor], ...] = (
        lambda: _drawn(model, start, TIMED_STEPS, SCALES[-1]),
        lambda: pipeline_latents(kind, pipe, PROMPTS, start, TIMED_STEPS, SCALES[-1]),
    )
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for call, own in zip(calls, seconds, strict=True):
            took = _seconds(call, model)
            if turn:  # the first is for warming up
                own.append(took / TIMED_STEPS)
    ratios = [ours / theirs for ours, theirs in zip(*seconds, strict=True)]
    return {
        "draw_step_seconds": statistics.median(seconds[0]),
        "diffusers_step_seconds": statistics.median(seconds[1]),
        "draw_ratio": statistics.median(ratios),
        "draw_ratio_spread": [min(ratios), max(ratios)],
    }


def _training_figures(model: LatentDiffusion, seed: int, repeats: int) -> dict[str, Any]:
    """Seconds of a step of a LoRA on two pictures, and the memory that it took beside what its plan said."""
    side = model.resolution
    pixels = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed))
    data = TrainingSet(ImageSet.from_pixels(pixels), prompt="a cat")
    tuning = {steps: LoRATuning(batch=2, steps=steps, seed=seed) for steps in (SHORT, LONG)}
    planned = tuning[SHORT].plan(model, data).memory_bytes
    peak = peak_bytes(lambda: tuning[SHORT](model, data), model)
    steps = [
        (_seconds(lambda: tuning[LONG](model, data), model) - _seconds(lambda: tuning[SHORT](model, data), model))
        / (LONG - SHORT)
        for _ in range(repeats)
    ]
    return {
        "train_step_seconds": statistics.median(steps),
        "planned_bytes": planned,
        "peak_bytes": peak,
        "planned_over_peak": planned / peak,
    }


def _noise(model: LatentDiffusion, seed: int) -> Tensor:
    side = model.resolution // model.factor
    shape = (BATCH, model.latent_channels, side, side)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(model.device)


def _drawn(model: LatentDiffusion, start: Tensor, steps: int, scale: float) -> Tensor:
    drawn = latent_batches(
        model,
        PROMPTS,
        range(BATCH),
        sampler="ddim",
        steps=steps,
        guidance_scale=scale,
        negative="",
        start=GivenLatents(start),
    )
    return torch.cat(list(drawn))


def _seconds(call: Callable[[], Any], model: LatentDiffusion) -> float:
    on_gpu = model.device.type == "cuda"
    began = time.monotonic()
    call()
    if on_gpu:
        torch.cuda.synchronize()
    return time.monotonic() - began
