"""Maps that a layer of a network gives for pictures."""

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.module_outputs import outputs_of
from intaglio.models.scored_network import ScoredNetwork


@torch.no_grad()
def layer_maps(scored: ScoredNetwork, layer: str, pixels: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "m c hl wl"]:
    """The layer's maps of pictures in [0, 1], on the CPU. Raises `BadInput` for a layer that there is not."""
    with outputs_of([scored.layer(layer)]) as found:
        scored.logits(pixels)
    return found[-1].cpu()
