"""Views of a picture at a model's resolution: tiles in its own geometry, and the whole picture as trainers see it.

Views are differentiable functions of the picture, of which no pixel is left out: tiles cover it from a random offset
on, mirrored beyond its border; the whole is resized and cut along its longer side at a random place.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

ViewKind = Literal["tiles", "whole"]


def mirrored(index: Int[Tensor, "k"], size: int) -> Int[Tensor, "k"]:
    """Places 0..size-1 of indices that run on beyond both ends, mirrored there without repeating the border."""
    if size == 1:
        return torch.zeros_like(index)
    within = index.remainder(2 * size - 2)
    return torch.where(within < size, within, 2 * size - 2 - within)


def starts(size: int, side: int, source: torch.Generator) -> list[int]:
    """First places of tiles of `side` that cover `size` pixels, from a random offset on.

    One tile where the picture fits into it, at a random place inside.
    """
    if size <= side:
        return [-_below(side - size + 1, source)]
    offset = _below(side, source)
    return list(range(-offset, size, side))


def tiles(picture: Float[Tensor, "3 h w"], side: int, source: torch.Generator) -> Float[Tensor, "m 3 side side"]:
    """Tiles that cover the picture."""
    places = [
        [mirrored(torch.arange(s, s + side), size) for s in starts(size, side, source)] for size in picture.shape[1:]
    ]
    return torch.stack([picture[:, rows[:, None], columns[None]] for rows in places[0] for columns in places[1]])


def whole(picture: Float[Tensor, "3 h w"], side: int, source: torch.Generator) -> Float[Tensor, "1 3 side side"]:
    """The picture with its shorter side resized to `side`, and a random square of it along the longer one."""
    resized = _resized(picture, side)
    top, left = (_below(length - side + 1, source) for length in resized.shape[-2:])
    return resized[:, :, top : top + side, left : left + side]


def centred(picture: Float[Tensor, "3 h w"], side: int) -> Float[Tensor, "1 3 side side"]:
    """The picture with its shorter side resized to `side`, and the square in its middle."""
    resized = _resized(picture, side)
    top, left = ((length - side) // 2 for length in resized.shape[-2:])
    return resized[:, :, top : top + side, left : left + side]


def _resized(picture: Float[Tensor, "3 h w"], side: int) -> Float[Tensor, "1 3 a b"]:
    height, width = picture.shape[1:]
    scale = side / min(height, width)
    size = tuple(max(side, round(scale * length)) for length in (height, width))
    if size == (height, width):
        return picture[None]
    return functional.interpolate(picture[None], size=size, mode="bicubic", antialias=scale < 1).clamp(0, 1)


VIEWS = {"tiles": tiles, "whole": whole}


def _below(end: int, source: torch.Generator) -> int:
    return int(torch.randint(end, (), generator=source))
