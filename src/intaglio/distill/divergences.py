"""Weights of a score difference that make its mean the gradient of an f-divergence."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

Divergence = Literal["js", "kl", "reverse-kl", "hellinger", "softened-reverse-kl", "neyman", "jeffreys"]

WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "reverse-kl": torch.ones_like,
    "kl": lambda r: r,
    "js": lambda r: r / (1 + r),
    "hellinger": lambda r: r.sqrt(),
    "softened-reverse-kl": lambda r: 1 / (1 + r),
    "neyman": lambda r: 1 / r,
    "jeffreys": lambda r: 1 + r,
}
"""h(r) = r² f''(r), up to a factor, of the density ratio r of data over student (arXiv 2502.15681)."""


def divergence_weights(ratios: Float[Tensor, "n"], divergence: str, bins: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """H of density ratios, each ratio over the mean of those in its bin, and h over its own mean.

    The means take out what a discriminator errs by at a noise level, and leave the rate of learning as it is.
    """
    scaled = ratios.clone()
    for one in bins.unique():
        rows = bins == one
        scaled[rows] = ratios[rows] / ratios[rows].mean()
    found = WEIGHTS[divergence](scaled)
    return found / found.mean()
