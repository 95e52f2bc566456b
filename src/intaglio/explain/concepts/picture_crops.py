"""Crops of pictures: overlapping squares, each brought to the size of the whole."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from intaglio.explain.blank import blank_of
from intaglio.explain.regions import HIDDEN

PARTS = 3.5
"""Times that a crop's side goes into the picture's."""
APART = 0.8
"""Distance of two crops, in sides of one."""
LEAST_INK = 0.1
"""Share of a crop's pixels that must differ from the blank."""


class CropBox(NamedTuple):
    """A square of a picture."""

    picture: int
    """Place of the picture."""
    top: int
    left: int
    side: int
    """Pixels."""


@dataclass(frozen=True, eq=False)
class PictureCrops:
    """Squares of pictures that are not blank."""

    boxes: tuple[CropBox, ...]
    pixels: Float[Tensor, "m 3 h w"]
    """Each brought to the pictures' size, bilinearly."""


def picture_crops(pictures: Float[Tensor, "n 3 h w"]) -> PictureCrops:
    """Crops of a side of 1/3.5 of the pictures' shorter one, 4/5 of a side apart; those nearly blank are left out."""
    height, width = pictures.shape[-2:]
    side = max(2, round(min(height, width) / PARTS))
    boxes, cut = [], []
    for place, picture in enumerate(pictures):
        ink = (picture - blank_of("auto", picture)).abs().amax(0) > HIDDEN
        for top in _starts(height, side):
            for left in _starts(width, side):
                rows, columns = slice(top, top + side), slice(left, left + side)
                if float(ink[rows, columns].float().mean()) >= LEAST_INK:
                    boxes.append(CropBox(place, top, left, side))
                    cut.append(picture[:, rows, columns])
    if not cut:
        return PictureCrops((), pictures[:0])
    whole = interpolate(torch.stack(cut), (height, width), mode="bilinear", align_corners=False)
    return PictureCrops(tuple(boxes), whole)


def _starts(size: int, side: int) -> range:
    return range(0, size - side + 1, max(1, round(APART * side)))
