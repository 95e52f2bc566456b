"""`SizeScale`: sizes of layers as points of a unit cube, logarithmic, rounded up to the tiles of kernels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.errors import require

Sizes = Int[ndarray, "n d"]


@dataclass(frozen=True)
class SizeScale:
    """u = log(x / low) / log(high / low) of sizes rounded up to tiles; a size with one value is left out."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    tiles: tuple[int, ...]
    """Multiples that sizes are rounded up to; 1 for none."""
    linear: bool = False
    """u = (x - low) / (high - low) in place of logarithms."""

    def __post_init__(self) -> None:
        ordered = all(1 <= low <= high for low, high in zip(self.low, self.high, strict=True))
        require(ordered and all(tile >= 1 for tile in self.tiles), f"bounds {self.low} to {self.high} are not in order")
        require(len(self.tiles) == len(self.low), "a tile is due for each size")

    def __call__(self, sizes: Sizes) -> Float[ndarray, "n k"]:
        """Points of the unit cube, and beyond it for sizes out of bounds."""
        low, high = (self.rounded(np.array([bound], np.int64)) for bound in (self.low, self.high))
        kept = (low < high)[0]
        x, low, high = self.rounded(sizes)[:, kept], low[:, kept], high[:, kept]
        if self.linear:
            return (x - low) / (high - low)
        return np.log(x / low) / np.log(high / low)

    def clamped(self, sizes: Sizes) -> Sizes:
        """The nearest sizes within the bounds."""
        return np.clip(sizes, np.array(self.low, np.int64), np.array(self.high, np.int64))

    def excess(self, sizes: Sizes) -> Float[ndarray, "n"]:
        """The largest factor by which a size lies outside of its bounds; 1 within them."""
        low, high = np.array(self.low, np.int64), np.array(self.high, np.int64)
        return np.maximum(np.maximum(sizes / high, low / sizes), 1.0).max(1, initial=1.0)

    def rounded(self, sizes: Sizes) -> Sizes:
        """The sizes rounded up to the tiles."""
        tiles = np.array(self.tiles, np.int64)
        return -(-sizes // tiles) * tiles
