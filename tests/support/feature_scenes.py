"""Labelled pictures whose labels are in their brightness, and networks to read them by."""

import torch

import explain_scenes
import tiny
from intaglio.explain.features.feature_cells import ProbedNetworks
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

COUNT = 15


def labelled(count: int = COUNT) -> tuple[ImageSet, dict[str, list[str]]]:
    """Noisy pictures, every third of them brighter, with a column that says so, and one of too few pictures."""
    bright = torch.arange(count) % 3 == 0
    noise = 0.2 * torch.rand(count, 3, tiny.RESOLUTION, tiny.RESOLUTION, generator=torch.Generator().manual_seed(3))
    pixels = noise + 0.2 + 0.5 * bright.float().view(-1, 1, 1, 1)
    names = [f"{k:02d}.png" for k in range(count)]
    light = ["bright" if one else "dark" for one in bright.tolist()]
    return ImageSet.from_pixels(pixels, names), {"light": light, "own": names}


def networks(model: LatentDiffusion | None = None) -> ProbedNetworks:
    """A model, where it is given, and an untrained classifier."""
    return ProbedNetworks(model=model, scored=explain_scenes.untrained())
