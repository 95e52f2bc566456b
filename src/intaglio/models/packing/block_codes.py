"""Weights as codes of 4 or 8 bits in blocks of 64 numbers, packed in memory and unpacked layer by layer as they act.

Blocks run over the flat weight, of any shape; each has the largest absolute number in it as its scale, in half
precision. NF4 codes are places among the sixteen levels of arXiv 2305.14314 (section 3), codes of 8 bits are integers
from -127 to 127 (arXiv 2110.02861 has the blocks).
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int16, Integer
from torch import Tensor
from torch.nn import functional

from intaglio.models.packing.normal_floats import normal_levels

BlockKind = Literal["nf4", "int8"]
BLOCK = 64
"""Numbers that share a scale."""
LARGEST = 127
"""Code of 8 bits that stands for the scale itself."""
AT_ONCE = 1 << 22
"""Numbers, at most, that are coded together."""


def block_codes(weight: Tensor, kind: BlockKind) -> tuple[Integer[Tensor, "bytes"], Int16[Tensor, "blocks"]]:
    """The codes of a weight of any shape, two a byte in NF4, and the bits of its scales.

    Scales are given as the bits of float16, which a network's change of precision leaves as they are. The last block is
    filled up with zeros. The levels nearest to the weights are taken, over the scales as they were rounded.
    """
    flat = weight.detach().reshape(-1)
    parts = [_coded(part, kind) for part in flat.split(AT_ONCE)]
    return torch.cat([codes for codes, _ in parts]), torch.cat([scales for _, scales in parts]).view(torch.int16)


def _coded(flat: Tensor, kind: BlockKind) -> tuple[Tensor, Tensor]:
    blocks = functional.pad(flat.float(), (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    scales = blocks.abs().amax(1).half()
    ratios = blocks / torch.where(scales > 0, scales, 1.0).float()[:, None]
    if kind == "int8":
        return (ratios * LARGEST).round().clamp(-LARGEST, LARGEST).to(torch.int8).flatten(), scales
    levels = normal_levels().to(flat.device)
    places = torch.bucketize(ratios.flatten(), (levels[1:] + levels[:-1]) / 2).to(torch.uint8)
    return places[::2] | places[1::2] << 4, scales


def level_pairs() -> Integer[Tensor, "256 2"]:
    """The two levels of every byte of NF4 codes, as the bits of float32."""
    codes, levels = torch.arange(256), normal_levels()
    return torch.stack([levels[codes & 15], levels[codes >> 4]], 1).view(torch.int32)


def unpacked(
    codes: Integer[Tensor, "bytes"],
    scales: Int16[Tensor, "blocks"],
    pairs: Integer[Tensor, "256 2"] | None,
    shape: Sequence[int],
    dtype: torch.dtype,
) -> Float[Tensor, "..."]:
    """The weight that `block_codes` packed, computed in float32 and rounded once; `pairs` for NF4, None for 8 bits."""
    factors = scales.view(torch.float16).float()
    if pairs is None:
        values = codes.float().view(-1, BLOCK).mul_(factors[:, None] / LARGEST)
    else:
        # Indices of 32 bits, one for two numbers, take a quarter of the memory that those of 64 would.
        values = pairs.view(torch.float32).index_select(0, codes.int()).view(-1, BLOCK).mul_(factors[:, None])
    return values.view(-1)[: math.prod(shape)].view(*shape).to(dtype)
