"""Guidance of a flow's inverse: each block's log-scales and shifts led away from a weaker prediction."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Parameters = tuple[Float[Tensor, "n w c"], Float[Tensor, "n w c"]]
"""Log-scales a and shifts b."""


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """Lead every block from the prediction without a label, or with blurred attention, past the one with.

    The rule linear (arXiv 2412.06329) is a_c + g (a_c - a_u), and so for b, with g the scale, or, annealed,
    g t / (T - 1) at patch t. The rule gaussian (arXiv 2506.06276) sharpens the conditional normal by the other: with
    s = min(sigma_c / sigma_u, 1)^2 and D = 1 + g - g s, sigma_c / sqrt(D) and ((1 + g) mu_c - g s mu_u) / D, which
    never widens it. What is led away from: the mean class at `temperature`; without classes the same input at a
    temperature that is not 1.
    """

    scale: float = 0.0
    """0 leads nowhere."""
    annealed: bool = True
    """Grow the scale from 0 at the first patch to all of it at the last."""
    what: Literal["ab", "a", "b"] = "ab"
    """Lead log-scales (a), shifts (b) or both."""
    rule: Literal["linear", "gaussian"] = "linear"
    temperature: float = 1.0
    """Of the attention of the branch that is led away from, above 0."""
    blocks: Literal["all", "first"] = "all"
    """Lead every block, or the first decoded alone."""

    def __post_init__(self) -> None:
        if not 0 <= self.scale < float("inf"):
            raise ValueError(f"guidance scale must not be negative, and finite: {self.scale}")
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"attention temperature must be above 0, not {self.temperature}")
        if self.what not in ("ab", "a", "b"):
            raise ValueError(f"guidance leads ab, a or b, not {self.what!r}")
        if self.rule == "gaussian" and self.what != "ab":
            raise ValueError("the gaussian rule leads both a and b; leave what at ab")

    def acts(self, classes: int) -> bool:
        """Whether there is anything to lead by: a scale, and something to contrast with."""
        return self.scale > 0 and (classes > 0 or self.temperature != 1)

    def gains(self, tokens: int) -> Float[Tensor, "t"]:
        """G of every target patch 0..T-1."""
        if not self.annealed:
            return torch.full((tokens,), float(self.scale), dtype=torch.float64)
        return self.scale * torch.arange(tokens, dtype=torch.float64) / max(1, tokens - 1)

    def led(self, told: Parameters, untold: Parameters, gains: Float[Tensor, "w 1"]) -> Parameters:
        """The guided log-scales and shifts of patches with these gains."""
        (a, b), (a_from, b_from) = told, untold
        if self.rule == "gaussian":
            shrink = torch.exp(2 * (a - a_from).clamp(max=0))
            spread = 1 + gains - gains * shrink
            return a - 0.5 * spread.log(), ((1 + gains) * b - gains * shrink * b_from) / spread
        return (
            a + gains * (a - a_from) if "a" in self.what else a,
            b + gains * (b - b_from) if "b" in self.what else b,
        )


UNGUIDED = Guidance()
