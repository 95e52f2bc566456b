"""`FactoredWeight`: a layer's weight in a training, as the product of two thin factors."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize


class FactoredWeight:
    """While it is on a layer, the layer computes with `up @ down`, in the weight's own shape."""

    def __init__(self, layer: Any, rank: int):
        """Registers it on a linear or convolutional layer, with the nearest product of this rank.

        That is U√S·√SVᵀ of the weight's largest singular values: its squared error is the sum of the squares of the
        others.
        """
        self._layer, whole = layer, layer.weight.detach()
        self._product = _Product(*nearest_factors(whole.float().flatten(1), rank))
        parametrize.register_parametrization(layer, "weight", self._product)

    @property
    def up(self) -> nn.Parameter:
        """[o, r]."""
        return self._product.up

    @property
    def down(self) -> nn.Parameter:
        """[r, n]."""
        return self._product.down

    def deviation(self) -> Float[Tensor, ""]:
        """Largest absolute deviation of the product from the whole weight, with its gradient."""
        whole = self._layer.parametrizations.weight.original
        return (self._layer.weight - whole.detach()).abs().max()

    def remove(self) -> None:
        """The layer's weight is the whole one again."""
        parametrize.remove_parametrizations(self._layer, "weight", leave_parametrized=False)


def nearest_factors(weight: Float[Tensor, "o n"], rank: int) -> tuple[Float[Tensor, "o _"], Float[Tensor, "_ n"]]:
    """U√S and √SVᵀ of the `rank` largest singular values, or of all where there are fewer."""
    left, values, right = torch.linalg.svd(weight.cpu().double(), full_matrices=False)
    roots = values[:rank].sqrt()
    up, down = left[:, :rank] * roots, roots[:, None] * right[:rank]
    return up.to(weight), down.to(weight)


class _Product(nn.Module):
    """The parametrisation."""

    def __init__(self, up: Tensor, down: Tensor):
        super().__init__()
        self.up, self.down = nn.Parameter(up), nn.Parameter(down)

    def forward(self, whole: Tensor) -> Tensor:
        """The product."""
        return (self.up @ self.down).view(whole.shape)
