"""`drawn_layer`: a layer whose first weights are a function of a seed."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from intaglio.randomness import generator_32bit


def drawn_layer(kind: type, seed: int, labels: Sequence[str | int], *sizes: int, **further: Any) -> Any:
    """A layer whose weights are drawn from seed and labels, with a deviation of 1 over the root of what goes in."""
    layer: Any = nn.utils.skip_init(kind, *sizes, **further)
    source = generator_32bit(seed, *labels)
    with torch.no_grad():
        layer.weight.normal_(0.0, layer.weight[0].numel() ** -0.5, generator=source)
        layer.bias.zero_()
    return layer
