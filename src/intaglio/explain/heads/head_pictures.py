"""Pictures of gates: how much each place of a picture is let through."""

from collections.abc import Sequence
from math import isqrt

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from intaglio.explain.heat_maps import overlaid


def gate_map(gates: Sequence[float], pixels: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """Gates of a square grid, row by row, in red over the picture in faint grey; white where nothing passes."""
    side = isqrt(len(gates))
    grid = torch.tensor(gates, dtype=torch.float32).view(1, 1, side, side)
    return overlaid(interpolate(grid, pixels.shape[1:], mode="nearest")[0, 0], pixels)
