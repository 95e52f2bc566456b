"""Settings and formulas of guidance: each block's log-scales and shifts moved away from a weaker prediction."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from intaglio.models.flow.tarflow import Parameters

GuidedParts = Literal["ab", "a", "b"]
GuidanceRule = Literal["linear", "gaussian"]
GuidedBlocks = Literal["all", "first"]


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """Classifier-free guidance of a flow, or guidance by blurred attention.

    The rule linear (arXiv 2412.06329) is a_c + g (a_c - a_u), and so for b, with g the scale, or, annealed,
    g t / (T - 1) at patch t. The rule gaussian (arXiv 2506.06276) sharpens the conditional normal by the other: with
    s = min(sigma_c / sigma_u, 1)^2 and D = 1 + g - g s, sigma_c / sqrt(D) and ((1 + g) mu_c - g s mu_u) / D, which
    never widens it. The unconditional prediction (a_u, b_u) is that of the mean class with attention at `temperature`;
    in a model without classes, that of the same input at a temperature other than 1.
    """

    scale: float = 0.0
    """g, at least 0; 0 is no guidance."""
    annealed: bool = True
    """Grow the scale linearly from 0 at the first patch to all of it at the last."""
    what: GuidedParts = "ab"
    """Guide log-scales (a), shifts (b) or both."""
    rule: GuidanceRule = "linear"
    temperature: float = 1.0
    """Attention temperature of the unconditional prediction, above 0; above 1 blurs."""
    blocks: GuidedBlocks = "all"
    """Guide every block, or the first decoded alone."""

    def __post_init__(self) -> None:
        if not 0 <= self.scale < float("inf"):
            raise ValueError(f"guidance scale must not be negative, and finite: {self.scale}")
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"attention temperature must be above 0, not {self.temperature}")
        if self.what not in ("ab", "a", "b"):
            raise ValueError(f"guidance is of ab, a or b, not {self.what!r}")
        if self.rule == "gaussian" and self.what != "ab":
            raise ValueError("the gaussian rule guides both a and b; leave what at ab")

    def acts(self, classes: int) -> bool:
        """Whether it changes a model with so many classes: a scale above 0, and another prediction to compare with."""
        return self.scale > 0 and (classes > 0 or self.temperature != 1)

    def scales(self, tokens: int) -> list[float]:
        """The scale g at each of the patches 0..T-1."""
        if not self.annealed:
            return [float(self.scale)] * tokens
        return [self.scale * index / max(1, tokens - 1) for index in range(tokens)]

    def apply(
        self, conditional: "Parameters", unconditional: "Parameters", scale: "Float[Tensor, 'w 1']"
    ) -> "Parameters":
        """The guided log-scales and shifts of w patches, each with its own scale g."""
        (a, b), (a_u, b_u) = conditional, unconditional
        if self.rule == "gaussian":
            shrink = (2 * (a - a_u).clamp(max=0)).exp()
            spread = 1 + scale - scale * shrink
            return a - 0.5 * spread.log(), ((1 + scale) * b - scale * shrink * b_u) / spread
        return (a + scale * (a - a_u) if "a" in self.what else a, b + scale * (b - b_u) if "b" in self.what else b)


UNGUIDED = Guidance()
