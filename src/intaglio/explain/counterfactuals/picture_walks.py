"""Diffusion of pictures in pixels: noised pictures, the loss of a denoiser, and DDIM walks to noise and back.

At time t in [0, 1] a picture x0 in [-1, 1] is x_t = alpha x0 + sigma e, with alpha = cos(pi t / 2), sigma =
sin(pi t / 2) and e unit noise. The denoiser gives v = alpha e - sigma x0 (arXiv 2202.00512), of which x0 = alpha x_t -
sigma v and e = sigma x_t + alpha v: what a picture is as a whole, such as its brightness, is known where nearly all is
noise, at which an error of e would be multiplied by sigma / alpha in the picture.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

LAST = 0.98
"""Time at which a walk ends, where noise is all but 0.001 of the variance."""
RISING = 5.0
"""Times sigma^2, up to 1: the weight of the loss. Next to no noise, e cannot be told, and the loss would be of that."""
Pixels = Float[Tensor, "n 3 s s"]
Predicts = Callable[[Pixels, Float[Tensor, "n"]], Pixels]
"""v of noised pictures at their times."""


def levels(times: Float[Tensor, "n"]) -> tuple[Float[Tensor, "n 1 1 1"], Float[Tensor, "n 1 1 1"]]:
    """Shares alpha of the picture and sigma of the noise at times."""
    angles = times[:, None, None, None] * (math.pi / 2)
    return angles.cos(), angles.sin()


def denoising_loss(predict: Predicts, pixels: Pixels, times: Float[Tensor, "n"], noise: Pixels) -> Float[Tensor, ""]:
    """Mean squared error of v, weighed by min(1, 5 sigma^2)."""
    alpha, sigma = levels(times)
    error = predict(alpha * pixels + sigma * noise, times) - (alpha * noise - sigma * pixels)
    return ((RISING * sigma.square()).clamp_max(1) * error.square()).mean()


def walked(predict: Predicts, pixels: Pixels, times: Sequence[float]) -> Pixels:
    """Pictures led from the first of some times to the last by steps of DDIM, up or down."""
    for here, there in pairwise(times):
        at = torch.full((len(pixels),), here, device=pixels.device)
        alpha, sigma = levels(at)
        v = predict(pixels, at)
        clean, noise = alpha * pixels - sigma * v, sigma * pixels + alpha * v
        alpha, sigma = levels(torch.full_like(at, there))
        pixels = alpha * clean + sigma * noise
    return pixels


def upward(steps: int) -> list[float]:
    """Times of a walk to noise, evenly spaced from 0; those of the way back are the same."""
    return [LAST * k / steps for k in range(steps + 1)]
