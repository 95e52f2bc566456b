"""input-gradient: the gradient of the score times the difference from a blank picture."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.explain.blank import blank_of
from intaglio.explain.family import Attribution
from intaglio.explain.gradient_settings import GradientAttributor
from intaglio.models.scored_network import ScoredNetwork


@dataclass(frozen=True, kw_only=True)
class InputGradient(GradientAttributor):
    """Input times gradient: the score's slope times what the picture adds to a blank one.

    (x_i - b_i) df(x) / dx_i; a place has the sum over its colours, or over the maps of the layer. Published with b = 0.
    One pass and one gradient, exact for a linear network.

    Source: Shrikumar et al., arXiv 1605.01713; smoothed and at layers, Rao, Böhle and Schiele, arXiv 2205.10435.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "its difference from the blank picture raises the score, by the gradient at the picture"

    def attributed(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int, content: str
    ) -> Attribution:
        """See the family."""
        values, slope = self.slope_at(scored, pixels, target)
        added = values - self.values_at(scored, blank_of(self.blank, pixels))
        size = (pixels.shape[1], pixels.shape[2])
        return Attribution(self.finished((added * slope).sum(0), size), self.passes(max(size)))

    def passes(self, side: int) -> int:
        """A forward pass and a gradient, and a pass of the blank picture at a layer."""
        return 4 if self.layer else 3
