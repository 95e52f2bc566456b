"""Blank pictures: what stands where a part of a picture is hidden."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.images.filters import blurred

Blank = Literal["auto", "white", "mean", "blurred"]
"""white; the mean colour of the picture; the picture blurred by an eighth of its side; auto takes white for pictures on
white, else the mean."""
PAPER = 0.95
"""Median of the border's numbers above which a picture is one on white."""


def blank_of(kind: Blank, pixels: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """A blank picture for a picture in [0, 1].

    Black is none of the choices: where ink stands on white, a black part is a large object.
    """
    if chosen_blank(kind, pixels) == "white":
        return torch.ones_like(pixels)
    if chosen_blank(kind, pixels) == "mean":
        return pixels.mean((1, 2), keepdim=True).expand_as(pixels).contiguous()
    return blurred(pixels[None], max(1.0, min(pixels.shape[-2:]) / 8))[0]


def chosen_blank(kind: Blank, pixels: Float[Tensor, "3 h w"]) -> Blank:
    """The kind that `auto` stands for; each other kind is itself."""
    if kind != "auto":
        return kind
    sides = (pixels[:, 0], pixels[:, -1], pixels[..., 0], pixels[..., -1])
    border = torch.cat([side.flatten() for side in sides])
    return "white" if float(border.median()) > PAPER else "mean"
