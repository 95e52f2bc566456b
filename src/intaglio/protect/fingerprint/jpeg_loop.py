"""JPEG inside a training: each update's quality at random, and gradients that pass as if it were not there."""

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.images.filters import jpeg
from intaglio.randomness import generator_32bit

QUALITIES = (40, 95)
"""Least and best quality of JPEG in the loop."""


def compressed(pixels: Float[Tensor, "n 3 h w"], seed: int, step: int) -> Float[Tensor, "n 3 h w"]:
    """Pixels through JPEG of the step's quality, with the gradient that they would have without."""
    low, high = QUALITIES
    quality = int(torch.randint(low, high + 1, (), generator=generator_32bit(seed, "jpeg", step)))
    given = pixels.detach()
    return pixels + (jpeg(given.cpu(), quality).to(given.device) - given)
