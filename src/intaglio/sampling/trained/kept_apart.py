"""Pictures that are kept from a training, and judge it."""

import torch
from jaxtyping import Bool
from torch import Tensor

from intaglio.randomness import generator

HELD_OUT = 10
"""One in so many pictures is kept."""


def held_out(count: int, seed: int) -> Bool[Tensor, "count"]:
    """A tenth of `count` pictures, one at least, drawn by the seed: pictures take prompts in turn, a draw takes all."""
    kept = torch.zeros(count, dtype=torch.bool)
    kept[torch.randperm(count, generator=generator(seed, "held out"))[: -(-count // HELD_OUT)]] = True
    return kept
