"""Gaussian blur of pictures that go on as their mirror image beyond the edges."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class GaussianBlur:
    """A Gaussian blur, cut at four standard deviations, with mirrored edges; it is its own transpose."""

    sigma: float = 2.0
    """Standard deviation in pixels, above 0."""

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= 1000:
            raise ValueError(f"the sigma of blur must be above 0, and 1000 at most, not {self.sigma}")

    def side(self, pixels: int) -> int:
        """The same side."""
        return pixels

    def forward(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The blurred pictures."""
        rows, columns = (self._along(length).to(pixels) for length in pixels.shape[2:])
        return rows @ pixels @ columns

    def back(self, measured: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The transpose: a second blur, since the inverse has no bound."""
        return self.forward(measured)

    def _along(self, length: int) -> Float[Tensor, "length length"]:
        """The blur of a line as a symmetric matrix whose rows add up to 1."""
        reach = math.ceil(4 * self.sigma)
        offsets = torch.arange(-reach, reach + 1)
        weights = (-offsets.double().square() / (2 * self.sigma**2)).exp()
        places = (torch.arange(length)[:, None] + offsets) % (2 * length)
        mirrored = torch.where(places < length, places, 2 * length - 1 - places)
        matrix = torch.zeros(length, length, dtype=torch.float64)
        return matrix.scatter_add_(1, mirrored, (weights / weights.sum()).expand(length, -1))
