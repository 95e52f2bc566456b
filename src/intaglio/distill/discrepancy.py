"""The maximum mean discrepancy of two sets of features (arXiv 1801.01401)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Kernel = Literal["polynomial", "rbf"]


def squared_discrepancy(
    drawn: Float[Tensor, "n d"], real: Float[Tensor, "m d"], kernel: Kernel = "polynomial"
) -> Float[Tensor, ""]:
    """The unbiased estimate of MMD², float64; it may be below 0.

    The polynomial kernel is (x·y / d + 1)³, `rbf` is exp(-|x - y|² / (2 d)). Both sets have two rows or more.
    """
    x, y = drawn.double(), real.double()
    return _apart(x, kernel) + _apart(y, kernel) - 2 * _kernel(x, y, kernel).mean()


def _apart(x: Float[Tensor, "n d"], kernel: Kernel) -> Float[Tensor, ""]:
    """Mean of the kernel over pairs of different rows."""
    values = _kernel(x, x, kernel)
    return (values.sum() - values.diagonal().sum()) / (len(x) * (len(x) - 1))


def _kernel(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], kernel: Kernel) -> Float[Tensor, "n m"]:
    width = x.shape[1]
    if kernel == "polynomial":
        return (x @ y.T / width + 1) ** 3
    squares = x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T
    return torch.exp(-squares.clamp(min=0) / (2 * width))
