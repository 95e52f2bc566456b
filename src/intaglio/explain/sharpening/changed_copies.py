"""Copies of pictures, changed as copies are: turned, moved, scaled, recoloured, softened and noisy."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from intaglio.randomness import generator

TURN, SHIFT, SCALE, COLOUR, NOISE, SOFTEST = 20.0, 0.15, 0.4, 0.35, 0.15, 0.25
"""Largest turn in degrees; shift as a share of the side; scale, colour and noise as shares; least share of pixels."""


def changed_copies(
    pixels: Float[Tensor, "n 3 h w"], hashes: Sequence[str], count: int, seed: int
) -> Float[Tensor, "n k 3 h w"]:
    """So many copies of each picture in [0, 1], each by draws of its own from the seed, the hash and its number."""
    return torch.stack(
        [
            torch.stack([_changed(one[None], generator(seed, "copy", content, k))[0] for k in range(count)])
            for one, content in zip(pixels, hashes, strict=True)
        ]
    )


def _changed(pixels: Float[Tensor, "1 3 h w"], source: torch.Generator) -> Float[Tensor, "1 3 h w"]:
    turn, across, down, scale, contrast, brightness, saturation, soft, noise = (
        2 * torch.rand(9, generator=source) - 1
    ).tolist()
    angle, size = math.radians(TURN * turn), (1 + SCALE) ** scale
    cosine, sine = math.cos(angle) / size, math.sin(angle) / size
    place = torch.tensor([[[cosine, -sine, 2 * SHIFT * across], [sine, cosine, 2 * SHIFT * down]]])
    grid = affine_grid(place, list(pixels.shape), align_corners=False)
    out = grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    grey = out.mean(1, keepdim=True)
    out = grey + (out - grey) * (1 + COLOUR * saturation)
    out = (0.5 + (out - 0.5) * (1 + COLOUR * contrast)) * (1 + COLOUR * brightness)
    if soft > 0:
        share = 1 - soft * (1 - SOFTEST)
        few = [max(1, round(share * side)) for side in pixels.shape[-2:]]
        small = interpolate(out, few, mode="bilinear", antialias=True)
        out = interpolate(small, pixels.shape[-2:], mode="bicubic")
    return (out + NOISE * abs(noise) * torch.randn(out.shape, generator=source)).clamp(0, 1)
