"""Curves of a score while a picture is revealed, or removed, in the order of an attribution."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

STEPS = 64
"""Steps of equal area."""


def pixel_order(attribution: Float[Tensor, "h w"]) -> Int[Tensor, "p"]:
    """Places of the pixels, the highest first; ties in the order of the rows."""
    return attribution.flatten().argsort(descending=True, stable=True)


def first_pixels(order: Int[Tensor, "p"], shape: tuple[int, int], steps: int = STEPS) -> Bool[Tensor, "m h w"]:
    """Masks of the first pixels of an order, of 0, 1/steps, ... 1 of the area: `steps` + 1 of them."""
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    shares = torch.arange(steps + 1) * len(order) / steps
    return (rank[None] < shares.round()[:, None]).view(-1, *shape)


def area_under(shares: Float[Tensor, "m"], scores: Float[Tensor, "m"]) -> float:
    """Area under a curve of scores over shares of the area, which rise from 0 to 1, by trapezoids."""
    return float(torch.trapezoid(scores.double(), shares.double()))


def revealing_area(
    score: Callable[[Float[Tensor, "m 3 h w"]], Float[Tensor, "m"]],
    pixels: Float[Tensor, "3 h w"],
    blank: Float[Tensor, "3 h w"],
    order: Int[Tensor, "p"],
    *,
    removing: bool = False,
    steps: int = STEPS,
) -> float:
    """Area under the scores of a picture that is revealed onto a blank in an order: insertion; or removed: deletion.

    High insertion and low deletion say that what comes first matters. Source: Petsiuk, Das and Saenko, arXiv
    1806.07421.
    """
    first = first_pixels(order, (pixels.shape[1], pixels.shape[2]), steps)[:, None]
    pictures = torch.where(first, blank, pixels) if removing else torch.where(first, pixels, blank)
    return area_under(torch.linspace(0, 1, steps + 1), score(pictures))
