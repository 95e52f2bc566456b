"""The denoising loss of what a model draws for a prompt, the peer that audits of prompts are measured against."""

from collections.abc import Sequence

import torch

from intaglio.denoising.losses import losses
from intaglio.denoising.samples import fixed_samples
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.loop import sample

LEVELS = 16
"""Noises a picture, at timesteps stratified over `LIMITS`."""
LIMITS = (50, 950)
MICRO_BATCH = 64


def drawn_losses(model: LatentDiffusion, prompts: Sequence[str], *, seed: int, steps: int) -> list[float]:
    """L_c of each prompt: the loss, under the prompt, of the picture of `seed` that the model draws for it.

    Mean squared error in what the network predicts, over 16 noises that all prompts share. A model that has memorised
    the picture of a prompt draws it, and denoises it well.

    Args:
        model: left as it was found.
        prompts: n texts.
        seed: of every picture and of the noises.
        steps: of DDIM, at a guidance of 7.5.
    """
    pictures = sample(model, prompts, [seed] * len(prompts), steps=steps, guidance_scale=7.5)
    with model.frozen(), torch.no_grad():
        latents = model.encode(pictures.pixels).cpu()
        noise, t = fixed_samples(LEVELS, tuple(latents.shape[1:]), LIMITS, seed)
        places = torch.tensor([[model.schedule.places([int(one)])[0] for one in t[0]]])
        shared = noise.expand(len(prompts), -1, -1, -1, -1), places.expand(len(prompts), -1)
        found = losses(model, model.embed(list(prompts)).detach(), latents, *shared, MICRO_BATCH)
    return found.mean(1).tolist()
