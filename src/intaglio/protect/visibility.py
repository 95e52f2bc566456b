"""Visibility of a change: less of the budget in flat areas, and a floor of structural similarity."""

from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from intaglio.metrics.quality import ssim
from intaglio.protect.budget import HALVINGS, LEVELS

WINDOW = 9
"""Side of the window of the local contrast, pixels."""
BUSY = 12.0
"""Local standard deviation, grey levels, from which the whole budget may be used."""


def share_by_contrast(pictures: Float[Tensor, "n 3 h w"], flat: float) -> Float[Tensor, "n 1 h w"]:
    """Share of the budget of each pixel: `flat` where the picture is constant, 1 where it is busy.

    It follows the standard deviation of the grey picture in a square window, mirrored at the border. At an edge of a
    flat area the least of the window's shares counts, so that no halo stands around it.
    """
    if flat == 1:
        return torch.ones_like(pictures[:, :1])
    grey = pictures.mean(1, keepdim=True) * LEVELS
    deviation = (_mean(grey**2) - _mean(grey) ** 2).clamp(min=0).sqrt()
    share = flat + (1 - flat) * (deviation / BUSY).clamp(max=1)
    return -functional.max_pool2d(-share, WINDOW, stride=1, padding=WINDOW // 2)


def _mean(grey: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n 1 h w"]:
    edge = WINDOW // 2
    mode = "reflect" if min(grey.shape[-2:]) > edge else "replicate"
    return functional.avg_pool2d(functional.pad(grey, [edge] * 4, mode=mode), WINDOW, stride=1)


def scaled_to_keep(
    rounded: Callable[[float], UInt8[Tensor, "1 3 h w"]], clean: Float[Tensor, "1 3 h w"], floor: float
) -> UInt8[Tensor, "1 3 h w"]:
    """The 8-bit picture of the largest scale of its change, in 1, 1/256, ..., whose similarity reaches the floor.

    Args:
        rounded: from a scale in [0, 1] to the 8-bit picture; scale 0 gives the clean one.
        clean: the original in [0, 1].
        floor: of the structural similarity, in [0, 1); 0 asks nothing.
    """
    whole = rounded(1.0)
    if floor == 0 or float(ssim(whole / LEVELS, clean)) >= floor:
        return whole
    low, high, best = 0.0, 1.0, rounded(0.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if float(ssim((found := rounded(middle)) / LEVELS, clean)) >= floor:
            low, best = middle, found
        else:
            high = middle
    return best
