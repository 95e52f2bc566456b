"""Times of calibration rows that are normally distributed about a part of the way, rather than evenly spread."""

from dataclasses import dataclass
from math import isfinite

import torch
from jaxtyping import Int
from torch import Tensor

from intaglio.errors import require
from intaglio.randomness import generator


@dataclass(frozen=True)
class NormalTimes:
    """Times T·N(μ, σ²) of T, the nearest whole ones, kept within 0..T-1: DNTC of arXiv 2211.15736."""

    mean: float
    """μ, a share of T: 0 is no noise."""
    deviation: float
    """σ, a share of T, above 0."""
    redrawn: bool = False
    """Whether a time beyond the ends is drawn again, rather than put on the end."""

    def __post_init__(self) -> None:
        require(0 <= self.mean <= 1, f"mean must be 0 to 1, not {self.mean}")
        sound = isfinite(self.deviation) and self.deviation > 0
        require(sound, f"deviation must be above 0 and finite, not {self.deviation}")

    def drawn(self, count: int, steps: int, seed: int) -> Int[Tensor, "count"]:
        """So many times below `steps`, in the order in which they are drawn."""
        source = generator(seed, "normal times", steps)
        found = torch.empty(0, dtype=torch.long)
        while len(found) < count:
            normal = torch.randn(count, dtype=torch.float64, generator=source)
            times = ((self.mean + self.deviation * normal) * steps).round().long()
            inside = times[(times >= 0) & (times < steps)] if self.redrawn else times.clamp(0, steps - 1)
            found = torch.cat([found, inside])
        return found[:count]
