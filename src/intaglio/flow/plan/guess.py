"""A fitted first guess of a block's input: linear in its output around each patch, before and after."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

FEATURES = 600
"""A neighbourhood is as large as it can be with at most so many numbers."""
RIDGE = 1e-4
"""Penalty, as a share of the mean square of a feature."""


@dataclass(frozen=True, eq=False)
class LocalGuess:
    """u ~ mean_u + W neighbourhood(v - mean_v), with one W for all patches.

    A block's output determines its input, but only the inverse, patch by patch, says how. Most of it is close by:
    what stood in a patch is nearly linear in what stands in it and around it now. Sweeps that start there are fewer,
    and still end at the same answer.
    """

    mean_v: Float[Tensor, "t c"]
    mean_u: Float[Tensor, "t c"]
    weights: Float[Tensor, "f c"]
    grid: tuple[int, int]

    @classmethod
    def fit(cls, v: Float[Tensor, "n t c"], u: Float[Tensor, "n t c"], grid: tuple[int, int]) -> "LocalGuess":
        """By ridge regression on pairs of a block's output and input, patches in raster order."""
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

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """For a file."""
        parts = {"mean_v": self.mean_v, "mean_u": self.mean_u, "weights": self.weights}
        return {f"{prefix}.{name}": tensor.cpu() for name, tensor in parts.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], prefix: str, grid: tuple[int, int]) -> "LocalGuess":
        """From a file."""
        mean_v, mean_u, weights = (tensors[f"{prefix}.{name}"] for name in ("mean_v", "mean_u", "weights"))
        return cls(mean_v, mean_u, weights, grid)


def radius_for(width: int) -> int:
    """How many patches to each side are looked at."""
    return max(0, (math.isqrt(FEATURES // width) - 1) // 2)


def neighbourhoods(patches: Float[Tensor, "n t c"], grid: tuple[int, int], radius: int) -> Float[Tensor, "n t f"]:
    """All numbers in the square around each patch; zeros beyond the border."""
    plane = patches.transpose(1, 2).reshape(len(patches), patches.shape[2], *grid)
    return functional.unfold(plane, 2 * radius + 1, padding=radius).transpose(1, 2)
