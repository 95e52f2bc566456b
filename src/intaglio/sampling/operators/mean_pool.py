"""Mean pooling: a picture made smaller by the means of square blocks."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from intaglio.errors import BadInput


@dataclass(frozen=True)
class MeanPool:
    """Means of blocks of `factor` pixels a side; its transpose is the pseudo-inverse over factor²."""

    factor: int = 4
    """Pixels along a side of a block, 1 or more."""

    def __post_init__(self) -> None:
        if not 1 <= self.factor <= 4096:
            raise ValueError(f"the factor of mean-pool must be 1 to 4096, not {self.factor}")

    def side(self, pixels: int) -> int:
        """Blocks along a side. Raises `BadInput` where they do not fill it."""
        if pixels % self.factor:
            raise BadInput(
                f"pictures of {pixels} pixels a side have no whole number of blocks of {self.factor}; "
                f"give mean-pool another factor"
            )
        return pixels // self.factor

    def forward(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c hm wm"]:
        """The mean of each block."""
        return avg_pool2d(pixels, self.factor)

    def back(self, measured: Float[Tensor, "n c hm wm"]) -> Float[Tensor, "n c h w"]:
        """The pseudo-inverse: every pixel of a block has its mean."""
        return measured.repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3)
