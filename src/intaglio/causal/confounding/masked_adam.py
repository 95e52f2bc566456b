"""Proximal Adam whose steps a mask may confine to some coordinates."""

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.99, 1e-8
"""Decays of the moments; the second forgets within a round, in which gradients change by orders of magnitude."""


class MaskedAdam:
    """Adam (arXiv 1412.6980) with a proximal step, for one tensor; a mask confines a step to some coordinates.

    After the step of Adam on the smooth part, which is scaled by each coordinate's own gradients, the proximal step of
    Σ w |θ| in the same scale shrinks the coordinate and sets it to exactly 0 where it is small. A coordinate outside of
    the mask keeps its value and its moments: with masked gradients in place of masked updates the moments would decay
    there and still move it. Each coordinate has its own count of steps, for the correction of its moments.
    """

    def __init__(self, like: Tensor):
        self.first, self.second = torch.zeros_like(like), torch.zeros_like(like)
        self.steps = torch.zeros_like(like)

    def step(
        self,
        value: Float64[Tensor, "*s"],
        gradient: Float64[Tensor, "*s"],
        shrinkage: Float64[Tensor, "*s"],
        rate: float,
        mask: Bool[Tensor, "*s"],
    ) -> Float64[Tensor, "*s"]:
        """The value after one step at a learning rate, with the weights w of the proximal step in `shrinkage`."""
        self.steps = self.steps + mask
        self.first = torch.where(mask, self.first.lerp(gradient, 1 - FIRST_DECAY), self.first)
        self.second = torch.where(mask, self.second.lerp(gradient.square(), 1 - SECOND_DECAY), self.second)
        count = self.steps.clamp(min=1.0)
        scale = rate / ((self.second / (1 - SECOND_DECAY**count)).sqrt() + EPSILON)
        moved = value - scale * self.first / (1 - FIRST_DECAY**count)
        shrunk = moved.sign() * (moved.abs() - scale * shrinkage).clamp(min=0.0)
        return torch.where(mask, shrunk, value)
