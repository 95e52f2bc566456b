"""layer-cam: the maps of a layer, weighted place by place by the score's positive gradient."""

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
class LayerCAM(ClassActivation):
    """Layer-CAM: a layer's maps, weighted place by place by the positive gradient.

    The positive part of the sum over maps k of max(df / dA_k, 0) A_k, brought to the picture's size bilinearly. Unlike
    the weights of Grad-CAM, which are means over all places, these can leave out a place that the score does not see.

    Source: Jiang et al., LayerCAM, IEEE Transactions on Image Processing 30, 2021.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the layer's maps are high and their gradients there raise the score"
    bench: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}, "stages.1": {"layer": "stages.1"}}

    def attributed(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int, content: str
    ) -> Attribution:
        """See the family."""
        maps, slope = self.slope_at(scored, pixels, target)
        weighted = (slope.clamp(min=0) * maps).sum(1, keepdim=True).clamp(min=0)
        size = (pixels.shape[1], pixels.shape[2])
        whole = interpolate(weighted, size, mode="bilinear", align_corners=False)
        return Attribution(whole[0, 0], self.passes(max(size)))
