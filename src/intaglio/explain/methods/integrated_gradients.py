"""integrated-gradients: gradients along the way from a blank picture."""

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.blank import blank_of
from intaglio.explain.family import Attribution
from intaglio.explain.gradient_settings import GradientAttributor
from intaglio.models.scored_network import ScoredNetwork


@dataclass(frozen=True, kw_only=True)
class PathGradients(GradientAttributor):
    """Integrated gradients: the gradient on the way from a blank picture times the way.

    IG_i = (x_i - b_i) times the integral over a in [0, 1] of the derivative of the score by number i at b + a (x - b),
    by Gauss-Legendre; a place has the sum over its colours. The sum of all is f(x) - f(b). Where the picture is as
    blank as b, a place has 0, whatever it means. At a layer, x and b are its maps of the two. Computed by captum.

    Source: Sundararajan, Taly and Yan, arXiv 1703.01365; smoothed and at layers, Rao, Böhle and Schiele, arXiv
    2205.10435.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "its difference from the blank picture raises the score, by gradients on the way there"
    library = "captum"

    steps: int = 50
    """Points on the way, from 1: more make the sum of the map nearer to the difference of the scores."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps >= 1, f"steps must be at least 1, not {self.steps}")

    def attributed(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int, content: str
    ) -> Attribution:
        """See the family."""
        from captum.attr import IntegratedGradients, LayerIntegratedGradients

        def score(given: Tensor) -> Tensor:
            return scored.score(given, target)

        layer = scored.layer(self.layer) if self.layer else None
        way = IntegratedGradients(score) if layer is None else LayerIntegratedGradients(score, layer)
        with torch.enable_grad():
            found = way.attribute(
                pixels[None].to(scored.device).requires_grad_(),
                baselines=blank_of(self.blank, pixels)[None].to(scored.device),
                n_steps=self.steps,
                internal_batch_size=self.batch,
                method="gausslegendre",
            )
        size = (pixels.shape[1], pixels.shape[2])
        return Attribution(self.finished(cast(Tensor, found)[0].detach().cpu().sum(0), size), self.passes(max(size)))

    def passes(self, side: int) -> int:
        """A forward pass and a gradient a step."""
        return 3 * self.steps
