"""Pictures masked to where the score of their called class comes from."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

from intaglio.explain.blank import Blank, blank_of
from intaglio.explain.layer_maps import layer_maps
from intaglio.images.filters import blurred
from intaglio.models.module_outputs import with_output
from intaglio.models.scored_network import ScoredNetwork

EDGE = 1.0
"""Pixels that the mask's edge is blurred by, so that its shape is less to be seen."""


def class_heat(
    scored: ScoredNetwork, layer: str, pixels: Float[Tensor, "n 3 h w"], targets: Int[Tensor, "n"]
) -> Float[Tensor, "n h w"]:
    """Grad-CAM (arXiv 1610.02391) of each picture's own class, on the CPU, brought to 0 to 1 in each picture.

    The layer's maps are weighted by their mean gradient, summed, cut at 0 and enlarged; where all is equal it is 1.
    """
    maps = layer_maps(scored, layer, pixels).to(scored.device).requires_grad_()
    with torch.enable_grad(), with_output(scored.layer(layer), maps):
        logits = scored.logits(pixels)
        score = torch.cat([scored.scored(row[None], int(k)) for row, k in zip(logits, targets, strict=True)])
        (slope,) = torch.autograd.grad(score.sum(), maps)
    heat = (slope.mean((2, 3), keepdim=True) * maps.detach()).sum(1).clamp_min(0)
    heat = interpolate(heat[:, None], pixels.shape[-2:], mode="bilinear")[:, 0].cpu()
    low, high = heat.amin((1, 2), keepdim=True), heat.amax((1, 2), keepdim=True)
    return torch.where(high > low, (heat - low) / (high - low).clamp_min(1e-12), 1.0)


def masked_pictures(
    pixels: Float[Tensor, "n 3 h w"], heat: Float[Tensor, "n h w"], least: float, blank: Blank = "auto"
) -> Float[Tensor, "n 3 h w"]:
    """Pictures whose places of less heat are blank, with a soft edge."""
    mask = blurred((heat >= least).float()[:, None].repeat(1, 3, 1, 1), EDGE)
    blanks = torch.stack([blank_of(blank, one) for one in pixels])
    return pixels * mask + blanks * (1 - mask)
