"""A tiny suspect with its base, and an encoder whose descriptors a test can choose."""

from pathlib import Path

import torch

import tiny
from intaglio.extract.extracted import Extraction, Find
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model

NONE = ImageSet.from_pixels(torch.zeros(0, 3, 16, 16))


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


def extraction(select, all_scores) -> Extraction:
    """A result whose finds have groups of these sizes."""
    nan = float("nan")
    finds = tuple(Find(i, "", tuple(range(size)), nan, nan, nan, 0.0, float(size)) for i, size in enumerate(select))
    return Extraction(
        "direct",
        NONE,
        finds,
        100,
        {},
        0.5,
        torch.tensor(all_scores, dtype=torch.float64),
        torch.zeros(0, 2),
        True,
        True,
    )
