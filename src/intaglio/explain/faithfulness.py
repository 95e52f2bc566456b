"""Faithfulness of a map: how soon a class is seen when a picture is revealed in its order, and lost when removed."""

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.explain.result import Faithfulness
from intaglio.metrics.revealing_curves import STEPS, pixel_order, revealing_area
from intaglio.models.scored_network import ScoredNetwork
from intaglio.randomness import generator

DRAWN = 3
"""Orders that are drawn at random."""

PASSES = (STEPS + 1) * (DRAWN + 2)
"""Pictures that go through the network for it."""


def faithfulness(
    scored: ScoredNetwork,
    pixels: Float[Tensor, "3 h w"],
    blank: Float[Tensor, "3 h w"],
    target: int,
    attribution: Float[Tensor, "h w"],
    source: tuple[int, str],
) -> Faithfulness:
    """Areas under the probability of a class, by the order of a map and by random ones.

    Args:
        scored: the network.
        pixels: of the picture.
        blank: what it is revealed onto.
        target: the class.
        attribution: the map.
        source: seed and label, such as the picture's hash, that the random orders follow from.
    """

    @torch.no_grad()
    def probability(pictures: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "m"]:
        return scored.logits(pictures).softmax(1)[:, target].cpu()

    def area(order: Tensor, removing: bool = False) -> float:
        return revealing_area(probability, pixels, blank, order, removing=removing)

    order, (seed, label) = pixel_order(attribution), source
    drawn = [torch.randperm(len(order), generator=generator(seed, "order", label, k)) for k in range(DRAWN)]
    return Faithfulness(area(order), area(order, removing=True), sum(map(area, drawn)) / DRAWN)
