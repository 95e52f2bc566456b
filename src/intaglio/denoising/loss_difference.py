"""Difference of two models' denoising losses on pictures: the base's at no prompt, less the suspect's at one."""

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise

TIMESTEPS = 16
"""Timesteps, evenly spaced over the schedule, with one noise each."""


@torch.no_grad()
def loss_difference(
    suspect: LatentDiffusion, base: LatentDiffusion, pixels: Float[Tensor, "n 3 h w"], prompt: str
) -> Float[Tensor, "n"]:
    """The base's squared error of the noise at an empty prompt, less the suspect's at `prompt`; mean over `TIMESTEPS`.

    Large where the suspect has learned a picture and the base has not: a picture that the base draws by itself is no
    evidence of a fine-tune. The noise is the same for every picture, so that differences compare.

    Args:
        suspect: the fine-tuned model.
        base: the model it was fine-tuned from; left as found, as the suspect is.
        pixels: pictures in [0, 1], at least one; `ValueError` for none.
        prompt: what the suspect is conditioned on.
    """
    count = suspect.schedule.count
    timesteps = [int((index + 0.5) * count / TIMESTEPS) for index in range(TIMESTEPS)]
    total = torch.zeros(len(pixels))
    with suspect.frozen(), base.frozen():
        latents = suspect.encode(pixels)
        conditioning, empty = suspect.embed([prompt]), base.embed([""])
        for seed, t in enumerate(timesteps):
            noise = unit_noise(latents.shape[1:], [torch.Generator().manual_seed(seed)]).expand_as(latents)
            noise, at = noise.to(latents.device), torch.full((len(latents),), t, device=latents.device)
            noised = suspect.noised(latents, noise, at)
            of_base = base.predict(noised.to(base.device), at.to(base.device), empty).to(noise.device)
            of_suspect = suspect.predict(noised, at, conditioning)
            total += _squared_error(of_base, noise) - _squared_error(of_suspect, noise)
    return total / TIMESTEPS


def _squared_error(predicted: Float[Tensor, "n *shape"], noise: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
    return (predicted - noise).square().flatten(1).mean(1).cpu()
