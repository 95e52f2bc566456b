"""What the suspect knows of a picture and its base does not: the gap of their denoising errors."""

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise

LEVELS = 16
"""Timesteps, one noise each."""


@torch.no_grad()
def denoising_gap(
    suspect: LatentDiffusion, base: LatentDiffusion, pixels: Float[Tensor, "n 3 h w"], prompt: str
) -> Float[Tensor, "n"]:
    """The base's squared error of the noise, with no words, less the suspect's with the prompt; mean over `LEVELS`.

    Large where the suspect knows a picture that the base does not: a picture that the base can draw by itself is no
    evidence of a fine-tune. The noise is the same for every picture, so that gaps compare. Raises `ValueError` for no
    pictures.
    """
    count = suspect.schedule.count
    timesteps = [int((level + 0.5) * count / LEVELS) for level in range(LEVELS)]
    total = torch.zeros(len(pixels))
    with suspect.frozen(), base.frozen():
        latents = suspect.encode(pixels)
        heard, empty = suspect.embed([prompt]), base.embed([""])
        for level, t in enumerate(timesteps):
            noise = unit_noise(latents.shape[1:], [torch.Generator().manual_seed(level)]).expand_as(latents)
            noise, at = noise.to(latents.device), torch.full((len(latents),), t, device=latents.device)
            noised = suspect.noised(latents, noise, at)
            theirs = base.predict(noised.to(base.device), at.to(base.device), empty).to(noise.device)
            total += _error(theirs, noise) - _error(suspect.predict(noised, at, heard), noise)
    return total / LEVELS


def _error(guess: Float[Tensor, "n *shape"], noise: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
    return (guess - noise).square().flatten(1).mean(1).cpu()
