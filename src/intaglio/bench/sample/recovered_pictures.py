"""Recovery of pictures that the model never saw from ones a quarter as large, to first and to second order."""

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.metrics.quality import psnr
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.sampling.calls import Calls
from intaglio.sampling.loop import sample
from intaglio.sampling.methods.stsl import STSL
from intaglio.sampling.operators.mean_pool import MeanPool

FACTOR = 4
"""Pixels along a side of one measured pixel."""


def held_out(count: int) -> Float[Tensor, "count 3 h w"]:
    """Pictures of the artist that the base was not trained on, evenly from all sets."""
    every = torch.cat([testbed.few_shot(name).holdouts.pixels for name in testbed.sets()])
    return every[[k * len(every) // count for k in range(count)]]


def recovered(
    model: LatentDiffusion,
    method: STSL,
    pixels: Float[Tensor, "n 3 h w"],
    *,
    steps: int,
    seed: int,
    calls: Calls | None = None,
) -> Float[Tensor, "n 3 h w"]:
    """Pictures recovered from the means of their blocks, as 8 bits have them; the prompt is the empty one."""
    operator = MeanPool(FACTOR)
    measured = (operator.forward(pixels) * 255).round() / 255
    seeds = [seed + k for k in range(len(pixels))]
    guide = method.guidance(operator, measured, [generator(one, "probe") for one in seeds])
    drawn = sample(
        model, [""] * len(seeds), seeds, steps=steps, guidance_scale=1.0, guide=guide, batch=len(seeds), calls=calls
    )
    return drawn.pixels


def reconstruction_figures(model: LatentDiffusion, *, quick: bool, seed: int) -> dict[str, float]:
    """Mean PSNR in decibels: of STSL, of its first order (PSLD) at as many calls, and of the measured pixels as blocks.

    Each asks for as many predictions, and as many gradients.
    """
    count, steps, updates = (2, 10, 2) if quick else (20, 20, 2)
    pixels = held_out(count)
    first, second = STSL(order=1, updates=2 * updates), STSL(updates=updates)
    found = {"psld_psnr": first, "stsl_psnr": second}
    figures = {
        name: float(psnr(recovered(model, method, pixels, steps=steps, seed=seed), pixels).mean())
        for name, method in found.items()
    }
    operator = MeanPool(FACTOR)
    return {**figures, "blocks_psnr": float(psnr(operator.back(operator.forward(pixels)), pixels).mean())}
