"""Maps of a picture as colours: red raises the score, blue lowers it, white does neither."""

import torch
from jaxtyping import Float
from torch import Tensor

RED, BLUE = (0.70, 0.09, 0.17), (0.13, 0.40, 0.67)
"""Colours of 1 and -1."""
CLIPPED = 0.995
"""Share of a map's places within its scale; the others have the full colour."""
ROUNDING = 1e-5
"""Least scale: numbers below it are those of rounding, and stay pale."""
SMALLEST = 1e-12
"""Least scale of maps that have been divided by their sums."""
EMPTY, LINE = 0.8, 0.6
"""Greys of what is not there, and of lines."""
GREY = 0.35
"""Share of the picture's own grey under a map."""


def scale_of(attribution: Float[Tensor, "h w"]) -> float:
    """The absolute value below which 99.5% of a map lie, or where that is 0 the largest; at least that of rounding."""
    sizes = attribution.abs().flatten()
    return max(float(sizes.quantile(CLIPPED)) or float(sizes.max()), ROUNDING)


def coloured(attribution: Float[Tensor, "h w"], scale: float | None = None) -> Float[Tensor, "3 h w"]:
    """A map in colours in [0, 1], white at 0, full at `scale`; None takes that of the map itself."""
    share = (attribution / (scale or scale_of(attribution))).clamp(-1, 1)[None]
    ends = [torch.tensor(one)[:, None, None] for one in (RED, BLUE)]
    colour = torch.where(share > 0, ends[0], ends[1])
    return 1 - share.abs() * (1 - colour)


def overlaid(
    attribution: Float[Tensor, "h w"], pixels: Float[Tensor, "3 h w"], scale: float | None = None
) -> Float[Tensor, "3 h w"]:
    """A map in colours over the picture in faint grey; `scale` as of `coloured`."""
    grey = 1 - GREY * (1 - pixels.mean(0, keepdim=True))
    return (coloured(attribution, scale) * grey).clamp(0, 1)


def quartered(maps: Float[Tensor, "b s s"]) -> Float[Tensor, "b 3 s s"]:
    """Maps of grids of four pictures, 0 or more, in colours on one scale, that of all; one that is NaN is grey.

    Lines halve each map.
    """
    places = maps[maps.isfinite()]
    scale = max(float(places.quantile(CLIPPED)) or float(places.max()), SMALLEST)
    share = (maps / scale).clamp(0, 1)[:, None]
    found = (1 - share * (1 - torch.tensor(RED)[:, None, None])).nan_to_num(EMPTY)
    middle = maps.shape[-1] // 2
    found[:, :, middle], found[:, :, :, middle] = LINE, LINE
    return found
