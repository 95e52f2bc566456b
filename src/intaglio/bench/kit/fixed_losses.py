"""Denoising losses of pictures at timesteps and noises that all models of a bench share."""

import numpy as np
from jaxtyping import Float

from intaglio.denoising.examples import Examples
from intaglio.denoising.losses import losses
from intaglio.denoising.samples import fixed_samples
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

TIMES, MICRO_BATCH = 10, 40


def measured(model: LatentDiffusion, examples: Examples) -> Float[np.ndarray, "n"]:
    """The denoising loss of each picture, at timesteps and noises that all models share."""
    noise, t = fixed_samples(TIMES, tuple(examples.latents.shape[1:]), (0, 999), 0)
    count = len(examples)
    with model.frozen():
        text = model.embed(list(examples.prompts))
        found = losses(
            model, text, examples.latents, noise.expand(count, -1, -1, -1, -1), t.expand(count, -1), MICRO_BATCH
        )
    return found.mean(1).numpy()
