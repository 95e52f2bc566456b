"""Noise levels that a network is told: sinusoids of their logarithm, and a scale and a shift of each map."""

from collections.abc import Sequence
from math import log, pi

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

LOWEST, HIGHEST = 0.002, 80.0
"""Levels t = 2 sigma between which the logarithm is told; a level beyond them is told as the nearer of the two."""
OCTAVES = 4
"""Sinusoids, each of half the period of the last."""
INNER = 32
"""Numbers of the layer between."""


class NoiseLevels(nn.Module):
    """Noise levels [n] to a scale and a shift [n, c, 1, 1] for each block's maps, by two linear layers.

    A level is the standard deviation sigma of the noise on pixels in [0, 1]. The logarithm of t = 2 sigma, the level on
    pixels in [-1, 1], goes into the layers as sines and cosines.
    """

    def __init__(self, maps: Sequence[int]):
        """Layers whose weights torch fills from its global state; `maps` are the channels c of each block."""
        super().__init__()
        self.maps = tuple(maps)
        self.inward = nn.Linear(2 * OCTAVES, INNER)
        self.outward = nn.Linear(INNER, 2 * sum(maps))

    def forward(self, sigma: Float[Tensor, "n"]) -> list[tuple[Float[Tensor, "n _ 1 1"], Float[Tensor, "n _ 1 1"]]]:
        """Scale, to be added to 1, and shift of each block in order."""
        place = ((2 * sigma).clamp(LOWEST, HIGHEST) / LOWEST).log() / log(HIGHEST / LOWEST)
        angles = pi * place[:, None] * 2.0 ** torch.arange(OCTAVES, device=sigma.device)
        changes = self.outward(silu(self.inward(torch.cat([angles.sin(), angles.cos()], 1))))
        blocks = changes.split([2 * count for count in self.maps], 1)
        return [tuple(part[:, :, None, None].chunk(2, 1)) for part in blocks]
