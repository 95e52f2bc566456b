"""Trimming of updates: of a whole model's, exactly the share of greatest magnitude is kept.

Thresholds are found by counting the bits of magnitudes, tensor by tensor, so that no model is sorted in memory.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.shrink.merging.weight_places import Place

Updates = Callable[[], Iterable[tuple[Place, Tensor]]]
"""The updates of one model, float32, in the order of names; they are gone through three times."""
HALF = 1 << 16
"""Values of the upper bits of a float32 and of the lower ones."""


@dataclass(frozen=True)
class Cut:
    """A threshold of magnitudes, and how many of those equal to it are kept."""

    bits: int
    """The threshold as the integer that has a float32's bits, by which magnitudes are ordered."""
    equal: Mapping[str, int]
    """Numbers of the magnitudes equal to it that are kept, the first ones, by place; none where it is not named."""

    def kept(self, place: Place, update: Float[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
        """Whether each number of an update is kept."""
        bits = magnitude_bits(update)
        level = bits == self.bits
        first = level.flatten().cumsum(0).view_as(level) <= self.equal.get(str(place), 0)
        return (bits > self.bits) | (level & first)

    @property
    def facts(self) -> dict[str, Any]:
        """As plain values, for a run's record."""
        return asdict(self)


def magnitude_bits(update: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Integers in the order of the magnitudes: a float32's own bits without the sign."""
    return update.float().abs().contiguous().view(torch.int32)


def cut_of(updates: Updates, density: float) -> Cut:
    """The cut that keeps a share of all numbers of a model's updates, to the nearest number and at least one.

    Args:
        updates: of the whole model.
        density: share that is kept, in (0, 1].
    """
    total, upper = 0, torch.zeros(HALF // 2, dtype=torch.long)
    for _, update in updates():
        total += update.numel()
        upper += torch.bincount(magnitude_bits(update).flatten() >> 16, minlength=HALF // 2).cpu()
    left = max(1, round(density * total))
    top, left = _level(upper, left)
    lower = torch.zeros(HALF, dtype=torch.long)
    for _, update in updates():
        bits = magnitude_bits(update).flatten()
        lower += torch.bincount(bits[bits >> 16 == top] & (HALF - 1), minlength=HALF).cpu()
    bottom, left = _level(lower, left)
    threshold, equal = (top << 16) + bottom, dict[str, int]()
    for place, update in updates():
        if (count := min(left, int((magnitude_bits(update) == threshold).sum()))) > 0:
            equal[str(place)] = count
            left -= count
    return Cut(threshold, equal)


def _level(counts: Int[Tensor, " b"], wanted: int) -> tuple[int, int]:
    """The highest level at or above which there are so many, and how many of its own are wanted of it."""
    above = counts.flip(0).cumsum(0)
    place = int((above < wanted).sum())
    level = len(counts) - 1 - place
    return level, wanted - (int(above[place - 1]) if place else 0)
