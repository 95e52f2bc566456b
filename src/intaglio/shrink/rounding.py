"""`SoftRounding`: the choice of each weight's lower or upper code as a number that gradients move: AdaRound."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.packing.integers import Integers
from intaglio.shrink.code_grid import CodeGrid

STRETCH, BELOW = 1.2, 0.1
"""A sigmoid is stretched to reach from -0.1 to 1.1, and clipped to 0..1, so that both ends are reached."""


@dataclass(frozen=True, eq=False)
class SoftRounding:
    """A weight between the codes below and above it: ŵ = s·(clip(⌊w/s⌋ + h(α) + z, 0, 2^b-1) - z).

    h(α) = clip(1.2σ(α) - 0.1, 0, 1). Source: arXiv 2004.10568, equations 21 to 24.
    """

    grid: CodeGrid
    below: Float[Tensor, "o g c"]
    """Codes below the weight, whole numbers that may lie beyond the grid."""
    share: Float[Tensor, "o g c"]
    """The part of the way from that code to the next at which the weight lies, 0 to 1."""
    scales: Float[Tensor, "o g 1"]
    zero: Float[Tensor, "o g 1"]

    @classmethod
    def of(cls, weight: Float[Tensor, "o n"], grid: CodeGrid, device: torch.device | str = "cpu") -> "SoftRounding":
        """The choice for a weight on the CPU; its tensors lie on `device`."""
        steps = grid.steps(weight)
        below = steps.floor()
        scales = grid.scales.float()[:, :, None]
        parts = (below + grid.zero, steps - below, scales, grid.zero)
        return cls(grid, *(part.to(device) for part in parts))

    def start(self) -> Float[Tensor, "o g c"]:
        """The α at which the soft weight is the weight itself, wherever that lies on the grid."""
        return -torch.log(STRETCH / (self.share + BELOW) - 1)

    def weight(self, alpha: Float[Tensor, "o g c"]) -> Float[Tensor, "o n"]:
        """The soft weight, differentiable in α."""
        codes = (self.below + upper_share(alpha)).clamp(0, 2**self.grid.bits - 1)
        return ((codes - self.zero) * self.scales).flatten(1)

    def hardened(self, alpha: Float[Tensor, "o g c"]) -> Integers:
        """The term with the upper code where α is 0 or more, else the lower."""
        return self.grid.rounded((self.below - self.zero + (alpha >= 0)).cpu())


def upper_share(alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """h(α): 0 is the lower code, 1 the upper."""
    return (STRETCH * alpha.sigmoid() - BELOW).clamp(0, 1)


def indecision(alpha: Float[Tensor, "*shape"], power: float) -> Float[Tensor, ""]:
    """Σ(1 - |2h(α) - 1|^power): 0 where every choice is made; a high power counts only those in the middle less."""
    return (1 - (2 * upper_share(alpha) - 1).abs().pow(power)).sum()


def undecided(alpha: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Count of choices that are not made: h within 0.05 of neither end."""
    share = upper_share(alpha)
    return ((share > 0.05) & (share < 0.95)).sum().float()
