"""grad-cam: the maps of a layer, weighted by the score's mean gradient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from intaglio.explain.family import Attribution
from intaglio.explain.gradient_settings import ClassActivation
from intaglio.models.scored_network import ScoredNetwork


@dataclass(frozen=True, kw_only=True)
class GradCAM(ClassActivation):
    """Grad-CAM: a layer's maps, weighted by the mean gradient of the score by each.

    The positive part of the sum over maps k of (mean over places of df / dA_k) A_k, brought to the picture's size
    bilinearly. It is as coarse as the layer. Tokens of a transformer are maps by their places.

    Source: Selvaraju et al., arXiv 1610.02391.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the layer's maps that raise the score are high"
    bench: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}, "stages.1": {"layer": "stages.1"}}

    def attributed(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int, content: str
    ) -> Attribution:
        """See the family."""
        maps, slope = self.slope_at(scored, pixels, target)
        weighted = (slope.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).clamp(min=0)
        size = (pixels.shape[1], pixels.shape[2])
        whole = interpolate(weighted, size, mode="bilinear", align_corners=False)
        return Attribution(whole[0, 0], self.passes(max(size)))
