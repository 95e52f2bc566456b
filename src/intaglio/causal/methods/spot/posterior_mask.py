"""Masks of a search's updates, drawn from the inclusion probabilities of pairs."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float64
from numpy import ndarray
from torch import Tensor

from intaglio.randomness import numpy_generator

STEPS_A_DRAW = 10
"""Steps that share a mask."""


class PosteriorMask:
    """Pairs that a step may change: each with its inclusion probability, anew every `STEPS_A_DRAW` steps.

    One draw governs both arrows and the double arrow of a pair, so that the matrix is symmetric (arXiv 2406.10537). It
    depends on the seed, the restart, the round and the step alone.
    """

    def __init__(self, inclusion: Float64[ndarray, "d d"], seed: int):
        """u, [d, d], symmetric, and the seed of the draws."""
        self.inclusion, self.seed = inclusion, seed
        self._of_draw = lru_cache(maxsize=1024)(self._drawn)

    def __call__(self, restart: int, number: int, step: int) -> Bool[Tensor, "d d"]:
        """See `UpdateMask`."""
        return self._of_draw(restart, number, step // STEPS_A_DRAW)

    def _drawn(self, restart: int, number: int, draw: int) -> Bool[Tensor, "d d"]:
        random = numpy_generator(self.seed, restart, number, draw)
        below = np.tril(random.random(self.inclusion.shape) < self.inclusion, -1)
        return torch.from_numpy(below | below.T)
