"""Drawing of latents from an `ExactMixture`, or any model."""

import torch

from intaglio.bench.sample.exact_mixture import ExactMixture
from intaglio.sampling.loop import latent_batches

__all__ = ["ExactMixture", "drawn"]


def drawn(model, method=None, *, prompt="", count, steps, scale=1.0, negative="", sampler="ddim", **options):
    """Latents [count, ...] of one prompt, by seeds from 0 on."""
    batches = latent_batches(
        model,
        [prompt] * count,
        range(count),
        sampler=sampler,
        steps=steps,
        guidance_scale=scale,
        negative=negative,
        method=method,
        batch=count,
        **options,
    )
    return torch.cat(list(batches))
