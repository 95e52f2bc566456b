"""Random shifts of a site, as long as given ones."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.randomness import generator


def random_shifts(
    lengths: Float[Tensor, "p s"], shape: Sequence[int], seed: int, *labels: object
) -> Float[Tensor, "p s *shape"]:
    """One Gaussian direction by seed and labels, at each step as long as asked for; float32 on the CPU."""
    drawn = torch.randn(tuple(shape), generator=generator(seed, *labels))
    unit = drawn / drawn.norm()
    return lengths[(..., *([None] * len(shape)))].float() * unit
