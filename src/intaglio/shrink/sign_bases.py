"""`SignBases`: a layer's weight in a training, as its signs and those of what they leave, with a scale a row each."""

from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from intaglio.models.packing.signs import Signs


class SignBases:
    """While it is on a layer and `on`, the layer computes with α₁·sgn(W), or with α₁·sgn(W) + α₂·sgn(W - α₁·sgn(W)).

    The gradient of W is that of the weight in use, that of each α the true one. sgn(0) is +1, and an α is used as it is
    stored, in half precision.
    """

    def __init__(self, layer: Any, bases: int):
        """Registers it on a linear or convolutional layer, off; α₁ begins at the mean of |W|, α₂ at that of the rest.

        These are the scales of least squared error for these signs.
        """
        self._layer, self._signs = layer, _Signs(layer.weight, bases)
        parametrize.register_parametrization(layer, "weight", self._signs)

    @property
    def on(self) -> bool:
        """Whether the layer computes with signs, and with W itself otherwise."""
        return self._signs.on

    @on.setter
    def on(self, on: bool) -> None:
        self._signs.on = on

    @property
    def scales(self) -> nn.Parameter:
        """[bases, o], the α."""
        return self._signs.scales

    @property
    def whole(self) -> Tensor:
        """The parameter W."""
        return self._layer.parametrizations.weight.original

    @torch.no_grad()
    def terms(self) -> tuple[Signs, ...]:
        """A term a base, whose sum is the weight in use to the bit."""
        whole = self.whole.detach().flatten(1)
        scales = self.scales.detach().half()
        masks = _masks(whole, scales.float())
        return tuple(Signs(mask.cpu(), scale.cpu()) for mask, scale in zip(masks, scales, strict=True))

    def remove(self) -> None:
        """The layer's weight is W again."""
        parametrize.remove_parametrizations(self._layer, "weight", leave_parametrized=False)


class _Signs(nn.Module):
    """The parametrisation."""

    def __init__(self, weight: Tensor, bases: int):
        super().__init__()
        self.scales, self.on = nn.Parameter(first_scales(weight.detach().flatten(1), bases)), False

    def forward(self, whole: Tensor) -> Tensor:
        """The weight in use."""
        if not self.on:
            return whole
        return cast(Tensor, _Sum.apply(whole.flatten(1), self.scales)).view(whole.shape)


class _Sum(torch.autograd.Function):
    """The sum of the bases; by hand, so that masks are all that is kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, scales: Tensor) -> Tensor:
        """The sum, for scales in half precision."""
        halves = scales.half().float()
        masks = _masks(matrix, halves)
        ctx.save_for_backward(*masks)
        first, *others = (torch.where(m, s[:, None], -s[:, None]) for m, s in zip(masks, halves, strict=True))
        return sum(others, start=first)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient as it is for the matrix, and times the signs and summed over a row for the scales."""
        (gradient,) = gradients
        whole = gradient.sum(1)
        return gradient, torch.stack([2 * (gradient * mask).sum(1) - whole for mask in ctx.saved_tensors])


@torch.no_grad()
def first_scales(matrix: Float[Tensor, "o n"], bases: int) -> Float[Tensor, "bases o"]:
    """Of each base the mean of the absolute values of what the bases before it leave of each row."""
    left, found = matrix.clone(), list[Tensor]()
    for _ in range(bases):
        scale = left.abs().mean(1)
        found.append(scale)
        left = left - torch.where(left >= 0, scale[:, None], -scale[:, None])
    return torch.stack(found)


def _masks(matrix: Float[Tensor, "o n"], scales: Float[Tensor, "bases o"]) -> list[Bool[Tensor, "o n"]]:
    """A mask a base, true where what the bases before it leave is not negative."""
    left, found = matrix, list[Tensor]()
    for scale in scales:
        mask = left >= 0
        found.append(mask)
        left = left - torch.where(mask, scale[:, None], -scale[:, None])
    return found
