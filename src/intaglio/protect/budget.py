"""Budget of a perturbation: grey levels of 255, measured on the 8-bit pictures that are given back."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

LEVELS = 255.0
"""Grey levels of an 8-bit channel above black."""
LARGEST = 64.0
"""Largest budget, in grey levels: a quarter of the range is plain to every eye."""
HALVINGS = 8
"""Steps of the search for the largest scale of a perturbation."""


@dataclass(frozen=True, eq=False)
class Allowance:
    """The box that a perturbation is projected into: where pictures may change, and by how much."""

    clean: Float[Tensor, "n 3 h w"]
    """Pictures in [0, 1], each a multiple of 1/255."""
    share: Float[Tensor, "n 1 h w"]
    """Share of the budget that each pixel may use, in [0, 1]; 0 where it must stay."""
    budget: float
    """Grey levels."""
    grey: tuple[bool, ...] = ()
    """Whether each picture has one channel, so that its three must change alike; empty: none has."""

    def of(self, row: int) -> "Allowance":
        """That of one picture."""
        rows = slice(row, row + 1)
        return Allowance(self.clean[rows], self.share[rows], self.budget, self.grey[rows])

    def projected(self, change: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """The nearest change within the budget that keeps pictures in [0, 1]."""
        if any(self.grey):
            one = torch.tensor(self.grey, device=change.device).view(-1, 1, 1, 1)
            change = torch.where(one, change.mean(1, keepdim=True).expand_as(change), change)
        limit = self.share * (self.budget / LEVELS)
        return (self.clean + change.clamp(-limit, limit)).clamp(0, 1) - self.clean

    def rounded(self, change: Float[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n 3 h w"]:
        """The changed pictures in 8 bits, no number further from the clean one than the whole grey levels allowed."""
        clean = (self.clean * LEVELS).round()
        whole = torch.floor(self.share * self.budget + 1e-4)  # 8 levels in float32 may lie a little below 8
        levels = (self.clean + change).mul(LEVELS).round()
        return torch.minimum(torch.maximum(levels, clean - whole), clean + whole).clamp(0, LEVELS).to(torch.uint8)


def largest_difference(one: UInt8[ndarray, "*shape"], other: UInt8[ndarray, "*shape"]) -> int:
    """Largest difference of two 8-bit pictures, grey levels."""
    return int(np.abs(one.astype(np.int16) - other.astype(np.int16)).max(initial=0))


def check_budget(budget: float, step: float) -> None:
    """Raises `ValueError` for a budget or a step outside [0, `LARGEST`] grey levels."""
    if not (math.isfinite(budget) and 0 <= budget <= LARGEST):
        raise ValueError(f"budget must lie in 0..{LARGEST:g} grey levels, not {budget}")
    if not (math.isfinite(step) and 0 < step <= LARGEST):
        raise ValueError(f"step must be above 0 and at most {LARGEST:g} grey levels, not {step}")
