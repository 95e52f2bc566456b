"""Ways to clean pictures by a diffusion model: through its autoencoder alone, or noised a little and denoised."""

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.denoising_walk import timesteps, walked
from intaglio.randomness import generator

Pictures = Float[Tensor, "n 3 h w"]


@torch.no_grad()
def diffused(pictures: Pictures, model: LatentDiffusion, seed: int, *, share: float = 0.1, steps: int = 10) -> Pictures:
    """Pictures noised in the model's latents up to a share of its timesteps, and denoised again without a prompt.

    The idea of DiffPure (arXiv 2205.07460) with a latent diffusion model, by deterministic steps (DDIM). Pictures must
    be of the model's resolution.
    """
    with model.frozen():
        latents = model.encode(pictures).cpu()
        sources = [generator(seed, "diffuse", place) for place in range(len(latents))]
        clean = walked(model, latents, model.embed([""]).detach(), timesteps(model, share, steps), sources)
        return model.decode(clean.to(model.device)).cpu()


@torch.no_grad()
def round_trip(pictures: Pictures, model: LatentDiffusion) -> Pictures:
    """Pictures encoded by the model's autoencoder and decoded again. Sides must be multiples of its `factor`."""
    with model.frozen():
        return model.decode(model.encode(pictures)).cpu()
