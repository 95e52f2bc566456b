"""Convolutions in files as whole numbers of eight bits, with a scale for each map."""

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"
"""Ending of the name of the scales of a convolution in eight bits, one for each map."""


def with_scales(name: str, weight: Tensor) -> dict[str, Tensor]:
    """A convolution [o, i, h, w] as whole numbers of -127 to 127, and the scale of each of its o maps."""
    scale = weight.abs().amax((1, 2, 3)).clamp_min(1e-12) / 127
    return {name: (weight / scale[:, None, None, None]).round().to(torch.int8), f"{name}{SCALE}": scale}


def without_scales(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convolutions in eight bits times their scales; all others as they are."""
    found = dict(tensors)
    for name in [key for key in found if key.endswith(SCALE)]:
        codes, scale = found.get(name.removesuffix(SCALE)), found[name]
        if codes is not None and codes.dtype == torch.int8 and codes.dim() == 4 and scale.shape == codes.shape[:1]:
            found[name.removesuffix(SCALE)] = codes.float() * found.pop(name).float()[:, None, None, None]
    return found
