"""The contract of measurement operators, which make of a picture what was measured of it."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Operator(Protocol):
    """A measurement A of square pictures, in which gradients flow."""

    def side(self, pixels: int) -> int:
        """Pixels along a side of what is measured of a picture of `pixels` a side.

        Raises `BadInput` for pictures that it does not measure.
        """
        ...

    def forward(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c hm wm"]:
        """A of pictures."""
        ...

    def back(self, measured: Float[Tensor, "n c hm wm"]) -> Float[Tensor, "n c h w"]:
        """A picture of what was measured: by the pseudo-inverse of A where that is simple, else by its transpose."""
        ...
