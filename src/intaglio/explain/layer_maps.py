"""Maps that a layer of a network gives for pictures, and scores with others in their place."""

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.models.module_outputs import outputs_of, with_output
from intaglio.models.scored_network import ScoredNetwork


@torch.no_grad()
def layer_maps(scored: ScoredNetwork, layer: str, pixels: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "m c hl wl"]:
    """The layer's maps of pictures in [0, 1], on the CPU. Raises `BadInput` for a layer that there is not."""
    with outputs_of([scored.layer(layer)]) as found:
        scored.logits(pixels)
    return found[-1].cpu()


@torch.no_grad()
def scores_with_maps(
    scored: ScoredNetwork,
    layer: str,
    pixels: Float[Tensor, "3 h w"],
    maps: Float[Tensor, "m c hl wl"],
    target: int,
    batch: int,
) -> Float[ndarray, "m"]:
    """Scores of a picture's class with the layer's maps replaced, `batch` at once."""
    found = list[Tensor]()
    for part in maps.split(batch):
        with with_output(scored.layer(layer), part.to(scored.device)):
            found.append(scored.score(pixels.expand(len(part), -1, -1, -1), target).cpu())
    return torch.cat(found).double().numpy()
