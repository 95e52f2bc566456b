"""Latents of pictures, which a generator learns to draw."""

import torch

from intaglio.explain.sharpening.flow_lessons import Latents
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

AT_ONCE = 32


@torch.no_grad()
def autoencoded(model: LatentDiffusion, images: ImageSet) -> Latents:
    """Means of the posterior of a model's autoencoder, float32 on the CPU. Raises `BadInput` for an unfit size."""
    return torch.cat([model.encode(some.to(model.device)).float().cpu() for some in images.pixels.split(AT_ONCE)])
