"""`CodeGrid`: the values that a weight's codes stand for, symmetric about zero or between a row's least and largest."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float16, UInt8
from torch import Tensor

from intaglio.models.packing.integers import Integers
from intaglio.shrink.quantiser import SHARES, best_of, grouped, integer_scales, stored

POWER = 2.4
"""Power of the error of a weight that the scales make least: that of arXiv 2302.04304's and 2211.15736's programs."""


@dataclass(frozen=True, eq=False)
class CodeGrid:
    """Scales and zeros of codes of 2 to 8 bits, for g groups of equally many columns of each row."""

    scales: Float16[Tensor, "o g"]
    bits: int
    zeros: UInt8[Tensor, "o g"] | None = None
    """Codes that stand for 0; None: half of the codes' number."""

    @property
    def zero(self) -> Float[Tensor, "o g 1"]:
        """The zeros, whole numbers."""
        if self.zeros is None:
            return torch.full((*self.scales.shape, 1), float(2 ** (self.bits - 1)))
        return self.zeros.float()[:, :, None]

    def rounded(self, steps: Float[Tensor, "o g c"]) -> Integers:
        """The term of whole numbers of scales, clipped to the codes."""
        codes = (steps + self.zero).clamp(0, 2**self.bits - 1).to(torch.uint8)
        return Integers(codes.flatten(1), self.scales, self.bits, self.zeros)

    def steps(self, weight: Float[Tensor, "o n"]) -> Float[Tensor, "o g c"]:
        """The weight in scales, by groups."""
        return weight.view(len(weight), self.scales.shape[1], -1) / self.scales.float()[:, :, None]

    def nearest(self, weight: Float[Tensor, "o n"]) -> Integers:
        """The weight rounded to its nearest codes."""
        return self.rounded(self.steps(weight).round())


def grid_of(weight: Float[Tensor, "o n"], bits: int, group: int, symmetric: bool) -> CodeGrid:
    """The grid of least Σ|w - ŵ|^2.4, among shares of 20% to 100% of the one that holds every weight of a group.

    A grid that is not symmetric lies between the least weight, or 0, and the largest, or 0.
    """
    if symmetric:
        return CodeGrid(integer_scales(weight, bits, group, "mse", POWER), bits)
    groups = grouped(weight, group)
    low, high = groups.amin(2).clamp(max=0), groups.amax(2).clamp(min=0)
    shares = torch.tensor(SHARES)[:, None, None]
    tried = _between(shares * low, shares * high, bits)
    scales, zeros = best_of(groups, lambda part, each, at: _loss(part, each, at, bits), *tried)
    return CodeGrid(scales, bits, zeros.to(torch.uint8))


def _between(low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Scales and zeros [s, o, g] of codes that reach from `low` to `high`, with 0 among their values."""
    top = 2**bits - 1
    scales = stored((high - low) / top)
    return scales, (-low / scales.float()).round().clamp(0, top)


def _loss(groups: Tensor, scales: Tensor, zeros: Tensor, bits: int) -> Tensor:
    """The sum over each group, [s, o, g], of its weights' errors at this power."""
    each, zero = scales.float()[..., None], zeros[..., None]
    steps = (groups / each).round_().add_(zero).clamp_(0, 2**bits - 1).sub_(zero)
    return steps.mul_(each).sub_(groups).abs_().pow_(POWER).sum(-1)
