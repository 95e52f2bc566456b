"""Masking: pixels that are known, and others that are not."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput


@dataclass(frozen=True, eq=False)
class Masking:
    """Known pixels as they are, others 0: a projection, which is its own transpose and pseudo-inverse."""

    known: Float[Tensor, "1 1 h w"]
    """1 for a known pixel, 0 for another."""

    def side(self, pixels: int) -> int:
        """The same side. Raises `BadInput` for a mask of another size."""
        if self.known.shape[-2:] != (pixels, pixels):
            raise BadInput(f"the mask is for {self.known.shape[-1]} pixels a side, the pictures have {pixels}")
        return pixels

    def forward(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The known pixels."""
        return pixels * self.known.to(pixels)

    def back(self, measured: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The known pixels."""
        return self.forward(measured)
