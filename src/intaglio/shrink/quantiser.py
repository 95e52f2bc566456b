"""Weights as whole numbers times a scale: the choice of scales, and rounding to the nearest code."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Float16, Shaped
from torch import Tensor

from intaglio.models.packing.integers import Integers
from intaglio.models.packing.normal_floats import NormalFloats, normal_levels
from intaglio.shrink.layers import KEPT_BITS, WeightLayer

Clip = Literal["mse", "none"]
SHARES = tuple(share / 100 for share in (100, *range(20, 100)))
"""Shares of the scale that holds every weight, from which the best is taken, and of equally good ones the first."""
AT_ONCE = 2**18
"""Numbers in memory while shares are compared."""


def group_of(columns: int, group: int) -> int:
    """Columns that share a scale: `group` where it divides the columns, else all of a row; 0 is all."""
    return group if group and columns % group == 0 else columns


def grouped(weight: Float[Tensor, "o n"], group: int) -> Float[Tensor, "o g c"]:
    """The columns of each row in groups that share a scale."""
    return weight.view(weight.shape[0], -1, group_of(weight.shape[1], group))


def stored(scales: Float[Tensor, "*shape"]) -> Float16[Tensor, "*shape"]:
    """Scales as they are stored: half precision, 1 where that would be zero."""
    half = scales.clamp(max=torch.finfo(torch.float16).max).half()
    return torch.where(half == 0, torch.ones_like(half), half)


def integer_scales(
    weight: Float[Tensor, "o n"], bits: int, group: int, clip: Clip, power: float = 2.0
) -> Float16[Tensor, "o g"]:
    """Scales of symmetric codes of 2 to 8 bits.

    Without clipping the largest weight of a group lies on the largest code; with `mse` that scale is shrunk to the
    share, of 20% to 100%, at which the sum of |w - ŵ|^power over the group is least.
    """
    groups = grouped(weight, group)
    whole = groups.abs().amax(2) / (2 ** (bits - 1) - 1)
    if clip == "none":
        return stored(whole)
    tried = torch.stack([stored(whole * share) for share in SHARES])
    (best,) = best_of(groups, lambda part, scales: _loss(part, scales, bits, power), tried)
    return best


def best_of(
    groups: Float[Tensor, "o g c"], loss: Callable[..., Tensor], *tried: Shaped[Tensor, "s o g"]
) -> list[Tensor]:
    """Of s ways to code each group the one of least loss, [o, g]; of equally good ones the first.

    Args:
        groups: the weights.
        loss: (some rows of groups, of each of `tried` these rows) to losses [s, rows, g].
        tried: what the ways differ in, such as scales.
    """
    rows = max(1, AT_ONCE // max(1, len(tried[0]) * groups[0].numel()))
    parts = zip(groups.split(rows), *(one.split(rows, 1) for one in tried), strict=True)
    places = torch.cat([loss(*part) for part in parts], 1).argmin(0, keepdim=True)
    return [one.gather(0, places)[0] for one in tried]


def nearest_integers(weight: Float[Tensor, "o n"], scales: Float16[Tensor, "o g"], bits: int) -> Integers:
    """The weight rounded to its nearest codes under these scales."""
    rows, columns = weight.shape
    steps = _steps(weight.view(rows, scales.shape[1], -1), scales, bits)
    return Integers((steps + 2 ** (bits - 1)).to(torch.uint8).view(rows, columns), scales, bits)


def kept_finer(layer: WeightLayer) -> Integers:
    """The weight of a layer that is kept in 8 bits."""
    weight = layer.matrix
    return nearest_integers(weight, integer_scales(weight, KEPT_BITS, 0, "mse"), KEPT_BITS)


def nearest_normal_floats(weight: Float[Tensor, "o n"], group: int) -> NormalFloats:
    """The weight rounded to the nearest of NF4's levels, scaled by the largest weight of each group."""
    groups = grouped(weight, group)
    scales, levels = stored(groups.abs().amax(2)), normal_levels()
    between = (levels[1:] + levels[:-1]) / 2
    codes = torch.bucketize(groups / scales.float()[:, :, None], between)
    return NormalFloats(codes.to(torch.uint8).view(weight.shape), scales)


def _steps(groups: Float[Tensor, "o g c"], scales: Float16[Tensor, "*s o g"], bits: int) -> Float[Tensor, "*s o g c"]:
    half = 2 ** (bits - 1)
    return (groups / scales.float()[..., None]).round_().clamp_(-half, half - 1)


def _loss(
    groups: Float[Tensor, "o g c"], scales: Float16[Tensor, "*s o g"], bits: int, power: float
) -> Float[Tensor, "*s o g"]:
    apart = _steps(groups, scales, bits).mul_(scales.float()[..., None]).sub_(groups)
    return (apart.square_() if power == 2 else apart.abs_().pow_(power)).sum(-1)
