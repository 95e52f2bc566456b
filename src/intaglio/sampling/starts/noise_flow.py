"""`NoiseFlow`: an invertible map of noise by affine couplings, which begins as the identity."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.learning.drawn_layer import drawn_layer
from intaglio.randomness import generator_32bit

LARGEST = 2.0
"""Largest logarithm of a coupling's scale, either way."""


class Coupling(nn.Module):
    """One affine coupling (arXiv 1605.08803): one half of the permuted numbers scales and shifts the other half."""

    def __init__(self, size: int, width: int, seed: int, place: int):
        """`size` numbers; permutation and first layers are drawn from seed and place, the last layer is 0.

        A coupling at an odd place moves what the one before it has kept.
        """
        super().__init__()
        self.kept = size // 2
        order = torch.randperm(size, generator=generator_32bit(seed, "order", place // 2))
        self.register_buffer("order", order.roll(-self.kept) if place % 2 else order)
        self.first = drawn_layer(nn.Linear, seed, (place, "first"), self.kept, width)
        self.second = drawn_layer(nn.Linear, seed, (place, "second"), width, width)
        self.last = nn.Linear(width, 2 * (size - self.kept), device="meta").to_empty(device="cpu")
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.act = nn.SiLU()

    def forward(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
        """The mapped numbers in their own order, and the logarithm of the determinant."""
        order = cast("Tensor", self.order)
        kept, moved = x[:, order[: self.kept]], x[:, order[self.kept :]]
        scale, shift = self._terms(kept)
        return self._placed(kept, moved * scale.exp() + shift), scale.sum(1)

    def inverse(self, y: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The numbers that are mapped to these."""
        order = cast("Tensor", self.order)
        kept, moved = y[:, order[: self.kept]], y[:, order[self.kept :]]
        scale, shift = self._terms(kept)
        return self._placed(kept, (moved - shift) * (-scale).exp())

    def _terms(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.last(self.act(self.second(self.act(self.first(kept))))).chunk(2, 1)
        return LARGEST * torch.tanh(scale / LARGEST), shift

    def _placed(self, kept: Tensor, moved: Tensor) -> Tensor:
        order = cast("Tensor", self.order)
        return torch.cat([kept, moved], 1)[:, order.argsort()]


class NoiseFlow(nn.Module):
    """Affine couplings one after the other, each under a fixed permutation of its own."""

    def __init__(self, size: int, blocks: int, width: int, seed: int):
        """`size` numbers, 2 or more; `width` of the hidden layers of every coupling."""
        super().__init__()
        self.blocks = nn.ModuleList(Coupling(size, width, seed, place) for place in range(blocks))

    def forward(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
        """The mapped numbers, and the logarithm of the determinant of the whole map."""
        logdet = x.new_zeros(len(x))
        for block in self.blocks:
            x, more = block(x)
            logdet = logdet + more
        return x, logdet

    def inverse(self, y: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The numbers that are mapped to these."""
        for block in reversed(list(self.blocks)):
            y = cast("Coupling", block).inverse(y)
        return y
