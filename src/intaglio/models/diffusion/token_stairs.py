"""`Stairs`: numbers of tokens kept in fewer bits the further a token is from the first."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.models.packing.bit_planes import from_planes, to_planes

WHOLE = 32
"""Bits that stand for numbers as they were computed."""
BITS = (*range(2, 9), 16, WHOLE)
"""Bits of a stair: of codes, half precision, or none less than computed."""
LARGEST = 65504.0
"""Largest number in half precision."""


class StoredStair(NamedTuple):
    """Some tokens as they are kept."""

    numbers: Tensor
    """Planes of codes on the CPU, uint8 [bits, bytes], or the numbers themselves [n, l, h, w]."""
    scales: Float[Tensor, "n l h"] | None
    """In half precision, of codes; None for numbers."""
    shape: tuple[int, ...]
    """(n, l, h, w)."""
    bits: int

    @property
    def bytes(self) -> int:
        """Of its tensors."""
        return sum(one.numel() * one.element_size() for one in (self.numbers, self.scales) if one is not None)


@dataclass(frozen=True)
class Stairs:
    """Bits that the numbers of a token are kept in, by its distance from the first token."""

    bits: tuple[int, ...]
    """Of each stair, the nearest first: 2 to 8, for codes with a scale a token and head; 16; or 32, as computed."""
    lengths: tuple[int, ...] = ()
    """Tokens of each stair but the last, which takes all others; each 1 or more."""

    def __post_init__(self) -> None:
        require(
            len(self.bits) == len(self.lengths) + 1,
            f"lengths must name the tokens of every stair but the last, one fewer than bits: {len(self.lengths)} and "
            f"{len(self.bits)} are given",
        )
        wrong = [one for one in self.bits if one not in BITS]
        require(not wrong, f"bits must be of 2 to 8, 16 and 32, not {', '.join(map(str, wrong))}")
        require(all(one >= 1 for one in self.lengths), f"lengths must be 1 or more, not {self.lengths}")

    def spans(self, tokens: int) -> Iterator[tuple[int, int, int]]:
        """First token, the one after the last, and bits of each stair that so many tokens reach."""
        first = 0
        for bits, length in zip(self.bits, (*self.lengths, tokens), strict=True):
            after = min(tokens, first + length)
            if after > first:
                yield first, after, bits
            first = after

    def mean_bits(self, tokens: int) -> float:
        """Bits a number on average over so many tokens, without scales."""
        return sum((after - first) * bits for first, after, bits in self.spans(tokens)) / tokens

    def store(self, numbers: Float[Tensor, "n l h w"]) -> tuple[StoredStair, ...]:
        """The numbers of l tokens and h heads as they are kept."""
        return tuple(_stored(numbers[:, first:after], bits) for first, after, bits in self.spans(numbers.shape[1]))

    def rounded(self, numbers: Float[Tensor, "n l h w"]) -> Float[Tensor, "n l h w"]:
        """The numbers as they come back from the store, in their own precision."""
        return restored(self.store(numbers), numbers.dtype)


def restored(stairs: Sequence[StoredStair], dtype: torch.dtype) -> Float[Tensor, "n l h w"]:
    """The numbers that are kept, in memory of their own."""
    return torch.cat([_restored(one, dtype) for one in stairs], 1)


def _stored(numbers: Float[Tensor, "n l h w"], bits: int) -> StoredStair:
    shape = tuple(numbers.shape)
    if bits >= 16:
        kept = numbers if bits == WHOLE else numbers.clamp(-LARGEST, LARGEST).half()
        return StoredStair(kept, None, shape, bits)
    half = 2 ** (bits - 1) - 1
    wide = numbers.float()
    scales = (wide.abs().amax(-1) / half).clamp(max=LARGEST).half()
    safe = scales.float().clamp(min=torch.finfo(torch.float32).tiny)[..., None]
    codes = (wide / safe).round().clamp(-half, half) + half
    return StoredStair(to_planes(codes.to(torch.uint8), bits), scales, shape, bits)


def _restored(one: StoredStair, dtype: torch.dtype) -> Float[Tensor, "n l h w"]:
    if one.scales is None:
        return one.numbers.to(dtype)
    codes = from_planes(one.numbers, math.prod(one.shape)).view(one.shape).to(one.scales.device)
    return ((codes.float() - (2 ** (one.bits - 1) - 1)) * one.scales.float()[..., None]).to(dtype)
