"""Layers of a U-Net whose inputs are two things side by side: the features of the up side, and those of a skip."""

from math import gcd
from typing import Any

from torch import nn


def skip_groups(denoiser: Any) -> dict[str, int]:
    """Input channels that may share a scale in each layer that takes a concatenation, by the layer's path.

    The two halves have ranges of their own. Groups have equal widths, so that where the halves are unequal the group is
    the greatest width that divides both: no group spans the two.
    """
    ups, found = list(getattr(denoiser, "up_blocks", None) or ()), {}
    before = getattr(denoiser, "mid_block", None) or list(getattr(denoiser, "down_blocks", None) or (None,))[-1]
    width = _width(before)
    for place, block in enumerate(ups):
        for index, resnet in enumerate(getattr(block, "resnets", ())):
            whole = resnet.conv1.in_channels
            if width is not None and 0 < width < whole:
                for name in ("conv1", "conv_shortcut"):
                    if isinstance(getattr(resnet, name, None), nn.Conv2d):
                        found[f"up_blocks.{place}.resnets.{index}.{name}"] = gcd(width, whole - width)
            width = resnet.conv2.out_channels
    return found


def _width(block: Any) -> int | None:
    """Channels that a block gives; None for one without residual blocks."""
    resnets = getattr(block, "resnets", None)
    return resnets[-1].conv2.out_channels if resnets else None
