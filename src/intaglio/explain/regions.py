"""Regions of a picture: maps that give each pixel the number of its region."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput

Cut = Literal["segments", "grid", "ranked"]
"""segments: connected parts of like colour (SLIC); grid: squares; ranked: sets of squares of like gradient, so that
each region holds the squares that matter about as much."""
NEEDED = "segments are cut by scikit-image; install it: pip install 'intaglio[explain]', or take --cut grid"
HIDDEN = 1 / 255
"""Largest difference from the blank of a region that is not told from it: a grey level."""
RANKED_SIDE = 10
"""Squares of a side that are ranked."""

RegionMap = Int[Tensor, "h w"]


def grid_regions(height: int, width: int, count: int) -> RegionMap:
    """Numbers 0 to r - 1 of about `count` rectangles, row by row; r is the nearest product of two sides."""
    rows = max(1, min(height, round((count * height / width) ** 0.5)))
    columns = max(1, min(width, round(count / rows)))
    down = torch.arange(height) * rows // height
    right = torch.arange(width) * columns // width
    return down[:, None] * columns + right[None]


def segments(pixels: Float[Tensor, "3 h w"], count: int) -> RegionMap:
    """Numbers 0 to r - 1 of about `count` connected parts of like colour (SLIC).

    Raises `BadInput` without scikit-image.
    """
    try:
        from skimage.segmentation import slic
    except ImportError as error:
        raise BadInput(NEEDED) from error
    found = slic(pixels.permute(1, 2, 0).double().cpu().numpy(), n_segments=count, start_label=0, channel_axis=-1)
    return torch.from_numpy(np.unique(found, return_inverse=True)[1].reshape(found.shape))


def ranked_regions(importance: Float[Tensor, "h w"], count: int) -> RegionMap:
    """Numbers 0 to `count` - 1 of sets of squares, by the importance within a square: the most important set is 0.

    The picture is cut into 10 x 10 squares, or as many as its sides have pixels; ties follow the squares' order.
    """
    height, width = importance.shape
    squares = grid_regions(height, width, RANKED_SIDE**2)
    most = int(squares.max()) + 1
    means = torch.zeros(most).index_add_(0, squares.flatten(), importance.float().flatten())
    means /= squares.flatten().bincount(minlength=most)
    place = torch.empty(most, dtype=torch.long)
    place[means.argsort(descending=True, stable=True)] = torch.arange(most)
    return (place * min(count, most) // most)[squares]


def without_blanks(regions: RegionMap, pixels: Float[Tensor, "3 h w"], blank: Float[Tensor, "3 h w"]) -> RegionMap:
    """Regions numbered anew, -1 where a whole region is as the blank is: shown or hidden, it is the same picture.

    All keep their numbers where none differs.
    """
    differs = ((pixels - blank).abs().amax(0) > HIDDEN).flatten()
    seen = torch.zeros(int(regions.max()) + 1).index_add_(0, regions.flatten(), differs.float()) > 0
    if not bool(seen.any()):
        return regions
    number = torch.where(seen, seen.long().cumsum(0) - 1, -1)
    return number[regions]


def region_sizes(regions: RegionMap) -> Int[Tensor, "r"]:
    """Pixels of each region."""
    return regions[regions >= 0].bincount()


def painted(regions: RegionMap, values: Float[Tensor, "r"]) -> Float[Tensor, "h w"]:
    """The value of each pixel's region; 0 for those without one."""
    return torch.cat([values, values.new_zeros(1)])[regions]
