"""layer-cam: the maps of a layer, weighted place by place by the score's positive gradient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from intaglio.explain.family import Attribution
from intaglio.explain.gradient_settings import ClassActivation
from intaglio.models.module_outputs import outputs_of
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
        with torch.enable_grad(), outputs_of([self.module(scored)]) as found:
            score = scored.score(pixels[None].to(scored.device).requires_grad_(), target).sum()
            (slope,) = torch.autograd.grad(score, found[0])
        weighted = (slope.clamp(min=0) * found[0].detach()).sum(1, keepdim=True).clamp(min=0)
        size = (pixels.shape[1], pixels.shape[2])
        whole = interpolate(weighted, size, mode="bilinear", align_corners=False)
        return Attribution(whole[0, 0], self.passes(max(size)))
