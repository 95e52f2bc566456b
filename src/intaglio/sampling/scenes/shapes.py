"""Shapes as sets of points of the plane, the colours they are filled with, and their antialiased pictures."""

from collections.abc import Mapping
from math import pi, sqrt

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

PALETTE: Mapping[str, tuple[float, float, float]] = {
    "red": (0.9, 0.1, 0.1),
    "yellow": (1.0, 0.85, 0.1),
    "green": (0.1, 0.75, 0.1),
    "blue": (0.1, 0.25, 0.95),
    "purple": (0.65, 0.1, 0.7),
    "black": (0.1, 0.1, 0.1),
}
"""Red, green and blue of each colour, in [0, 1]."""
AREAS: Mapping[str, float] = {"circle": pi / 4, "square": 1.0, "triangle": 1 / 2, "cross": 5 / 9}
"""Area of each shape in a box of side 1."""
CENTRES: Mapping[str, float] = {"circle": 0.0, "square": 0.0, "triangle": 1 / 6, "cross": 0.0}
"""Height of the centre of mass below the middle of that box."""
SUBPIXELS = 4
"""Points along a side of a pixel at which its covered share is taken."""


def inside(shape: str, x: Float[ndarray, "*shape"], y: Float[ndarray, "*shape"]) -> Bool[ndarray, "*shape"]:
    """Whether points lie in the shape; x to the right and y down from the middle of its box of side 1."""
    box = np.maximum(abs(x), abs(y)) <= 0.5
    match shape:
        case "circle":
            return x**2 + y**2 <= 0.25
        case "triangle":
            return box & (abs(x) <= (y + 0.5) / 2)
        case "cross":
            return box & (np.minimum(abs(x), abs(y)) <= 1 / 6)
    return box


def coverage(shape: str, x: float, y: float, side: float, resolution: int) -> Float[ndarray, "h w"]:
    """Share of each pixel that a shape covers, in [0, 1].

    Args:
        shape: its name.
        x: of the middle of its box, pixels from the left edge of the picture.
        y: likewise, from the upper edge.
        side: of the box, pixels.
        resolution: pixels along a side of the picture.
    """
    points = (np.arange(resolution * SUBPIXELS) + 0.5) / SUBPIXELS
    hit = inside(shape, *np.broadcast_arrays((points - x)[None] / side, (points - y)[:, None] / side))
    return hit.reshape(resolution, SUBPIXELS, resolution, SUBPIXELS).mean((1, 3))


def template(shape: str, area: float, x: float, y: float, height: int, width: int) -> Bool[ndarray, "h w"]:
    """The pixels whose middles lie in a shape of a given area, pixels, with its centre of mass at x and y."""
    side = sqrt(area / AREAS[shape])
    right = (np.arange(width) + 0.5 - x) / side
    down = (np.arange(height) + 0.5 - y) / side + CENTRES[shape]
    return inside(shape, *np.broadcast_arrays(right[None], down[:, None]))
