"""Statistics of a picture's colours and edges, which tell drawing styles apart."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

LUMINANCES = tuple(k / 8 for k in range(9))
SATURATIONS = tuple(k / 5 for k in range(6))
STEPS = (0.0, 0.004, 0.02, 0.06, 0.2, 0.5, 1.0)
"""Bounds of the bins, of which each but the last leaves its upper bound to the next."""


def style_statistics(pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 22"]:
    """Shares of the pixels by luminance and by saturation, of the steps between neighbours by height, and deviations.

    Eight bins of the mean of the channels, five of their range, six of the mean absolute step to the neighbour on the
    right and below, and the standard deviation of each channel.
    """
    luminance = pixels.mean(1).flatten(1)
    saturation = (pixels.amax(1) - pixels.amin(1)).flatten(1)
    across, down = pixels.diff(dim=3).abs().mean(1).flatten(1), pixels.diff(dim=2).abs().mean(1).flatten(1)
    shares = [_shares(luminance, LUMINANCES), _shares(saturation, SATURATIONS)]
    steps = (_shares(across, STEPS) + _shares(down, STEPS)) / 2
    return torch.cat([*shares, steps, pixels.flatten(2).std(2)], 1).cpu()


def _shares(values: Float[Tensor, "n m"], bounds: Sequence[float]) -> Float[Tensor, "n bins"]:
    """The share of each row's values in each bin."""
    inner = torch.tensor(bounds[1:-1], dtype=values.dtype, device=values.device)
    places = torch.bucketize(values.contiguous(), inner, right=True)
    return torch.stack([(places == k).float().mean(1) for k in range(len(bounds) - 1)], 1)
