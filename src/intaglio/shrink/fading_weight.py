"""`FadingWeight`: a layer's weight in a training, of which the entries beyond a pattern count less and less."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from intaglio.shrink.kept_weights import highest


class FadingWeight:
    """While it is on a layer, the layer computes with W⊙(m + (1-m)·λ), m the largest of each group of W.

    The tensor that is trained stays the layer's own parameter W.
    """

    def __init__(self, layer: Any, straight: bool):
        """Registers it on a linear or convolutional layer; `set` comes before each call.

        With `straight` the gradient of W is that of the weight in use, else that times m + (1-m)·λ.
        """
        self._layer, self._factors = layer, _Factors(layer.weight, straight)
        parametrize.register_parametrization(layer, "weight", self._factors)

    @property
    def whole(self) -> Tensor:
        """The parameter W."""
        return self._layer.parametrizations.weight.original

    @torch.no_grad()
    def set(self, pattern: tuple[int, int], factor: float) -> None:
        """Finds the mask again, n of m by absolute value, for the factor λ of all others."""
        whole = self.whole.detach()
        mask = highest(whole.abs().flatten(1).cpu(), 1 - pattern[0] / pattern[1], pattern)
        self._factors.mask, self._factors.factor = mask.view(whole.shape).to(whole.device), factor

    def dropped_squares(self) -> Float[Tensor, ""]:
        """Sum of the squares of W outside of the mask, with its gradient."""
        return self.whole.masked_fill(self._factors.mask, 0.0).square().sum()

    def remove(self) -> None:
        """The layer's weight is W again."""
        parametrize.remove_parametrizations(self._layer, "weight", leave_parametrized=False)


class _Factors(nn.Module):
    """The parametrisation."""

    def __init__(self, weight: Tensor, straight: bool):
        super().__init__()
        self.mask: Tensor = torch.ones_like(weight, dtype=torch.bool)
        self.factor, self.straight = 1.0, straight

    def forward(self, whole: Tensor) -> Tensor:
        """The weight in use."""
        used = torch.where(self.mask, whole, self.factor * whole)
        return whole + (used - whole).detach() if self.straight else used
