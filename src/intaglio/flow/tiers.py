"""Tiers of error: how far a decoded picture may lie from the sequential one, in [-1, 1], before denoising."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

TierName = Literal["exact", "near"]


@dataclass(frozen=True)
class Tier:
    """Bounds on the difference from sequential decoding."""

    largest: float
    """Of any number of any patch."""
    mean: float
    """Of the mean over all of them."""

    def holds(self, found: Float[Tensor, "n t c"], exact: Float[Tensor, "n t c"]) -> bool:
        """Whether decoded patches are close enough to the sequential ones."""
        largest, mean = differences(found, exact)
        return largest <= self.largest and mean <= self.mean


TIERS: dict[TierName, Tier] = {"exact": Tier(1e-3, 1e-4), "near": Tier(2 / 127.5, 2e-3)}
"""near: no number is off by more than two steps of 8 bits, and the mean by a quarter of one."""


def differences(found: Float[Tensor, "n t c"], exact: Float[Tensor, "n t c"]) -> tuple[float, float]:
    """The largest and the mean absolute difference; NaN counts as infinitely far."""
    if not found.numel():
        return 0.0, 0.0
    distances = torch.nan_to_num((found.cpu() - exact.cpu()).abs(), nan=torch.inf)
    return float(distances.max()), float(distances.mean())
