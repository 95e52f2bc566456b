"""A tiny suspect with its base, and an encoder whose descriptors a test can choose."""

from pathlib import Path

import torch

import tiny
from intaglio.metrics.similarity import Embedding
from intaglio.models.diffusion import LatentDiffusion
from intaglio.models.loading import load_model


def pair(folder: Path) -> tuple[LatentDiffusion, LatentDiffusion]:
    """(suspect, base)."""
    base = load_model(tiny.sd_folder(folder / "base"))
    suspect = base.copy()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in suspect.parts["denoiser"].parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=generator)
    return suspect, base


def encoder() -> Embedding:
    """A picture's mean colour of four quarters, from its own mean."""

    def network(pixels: torch.Tensor) -> torch.Tensor:
        small = torch.nn.functional.adaptive_avg_pool2d(pixels, 2).flatten(1)
        return small - small.mean(1, keepdim=True) + 1e-6

    return Embedding("quarters", "0" * 64, network, torch.device("cpu"))
