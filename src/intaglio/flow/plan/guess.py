"""Fitted first guess of a block's input: linear in its output in a square of patches around each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

FEATURES = 600
"""Most numbers in a neighbourhood, which is as large as they allow."""
RIDGE = 1e-4
"""Penalty of the ridge regression, as a share of the mean square of a feature."""


@dataclass(frozen=True, eq=False)
class LocalGuess:
    """Linear prediction u ~ mean_u + W neighbourhood(v - mean_v), with one W for all patches.

    The input of a patch depends mostly, and nearly linearly, on the output in it and around it, before and after in
    the block's order. Sweeps that start from this guess are fewer, and still converge to the same answer.
    """

    mean_v: Float[Tensor, "t c"]
    mean_u: Float[Tensor, "t c"]
    weights: Float[Tensor, "f c"]
    """W, transposed; f numbers a neighbourhood."""
    grid: tuple[int, int]
    """Rows and columns of patches."""

    @classmethod
    def fit(cls, v: Float[Tensor, "n t c"], u: Float[Tensor, "n t c"], grid: tuple[int, int]) -> "LocalGuess":
        """Fit by ridge regression on pairs of a block's output and input, patches in raster order."""
        v, u = v.double(), u.double()
        mean_v, mean_u = v.mean(0), u.mean(0)
        x = neighbourhoods(v - mean_v, grid, radius_for(v.shape[2])).flatten(0, 1)
        y = (u - mean_u).flatten(0, 1)
        gram = x.T @ x
        gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        return cls(mean_v.float(), mean_u.float(), torch.linalg.solve(gram, x.T @ y).float(), grid)

    def __call__(self, v: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        """The guess for patches in raster order."""
        mean_v, mean_u, weights = (part.to(v) for part in (self.mean_v, self.mean_u, self.weights))
        return mean_u + neighbourhoods(v - mean_v, self.grid, radius_for(v.shape[2])) @ weights

    def fits(self, grid: tuple[int, int], width: int) -> bool:
        """Whether it is for this grid of patches of `width` numbers, and finite."""
        means, features = (math.prod(grid), width), (2 * radius_for(width) + 1) ** 2 * width
        parts = ((self.mean_v, means), (self.mean_u, means), (self.weights, (features, width)))
        return self.grid == grid and all(
            part.shape == shape and part.is_floating_point() and bool(part.isfinite().all()) for part, shape in parts
        )

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Tensors for a file, each name beginning with the prefix."""
        parts = {"mean_v": self.mean_v, "mean_u": self.mean_u, "weights": self.weights}
        return {f"{prefix}.{name}": tensor.cpu() for name, tensor in parts.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], prefix: str, grid: tuple[int, int]) -> "LocalGuess":
        """From the tensors of a file, those whose names begin with the prefix."""
        mean_v, mean_u, weights = (tensors[f"{prefix}.{name}"] for name in ("mean_v", "mean_u", "weights"))
        return cls(mean_v, mean_u, weights, grid)


def radius_for(width: int) -> int:
    """Patches to each side in a neighbourhood, for patches of `width` numbers."""
    return max(0, (math.isqrt(FEATURES // width) - 1) // 2)


def neighbourhoods(patches: Float[Tensor, "n t c"], grid: tuple[int, int], radius: int) -> Float[Tensor, "n t f"]:
    """All numbers f in the square of patches around each patch; zeros beyond the border."""
    plane = patches.transpose(1, 2).reshape(len(patches), patches.shape[2], *grid)
    return functional.unfold(plane, 2 * radius + 1, padding=radius).transpose(1, 2)
