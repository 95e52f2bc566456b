"""Pictures of which masks show a part: what stands where a pixel is hidden, holes at random, and the first pixels."""

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.explain.blank import chosen_blank

CELLS = (4, 8, 16, 32)
"""Cells of a side of the grid that holes are made of; a batch has one of these."""

HALF = 0.5
"""Share of a pixel from which on it is said to be shown."""

Pixels = Float[Tensor, "n 3 h w"]
Masks = Float[Tensor, "n h w"]
Fill = Float[Tensor, "3"]


def fill_of(pixels: Pixels) -> Fill:
    """One colour for all pictures: white where most of them are on white, else the mean over them.

    A colour of each picture's own would tell of its hidden pixels.
    """
    white = sum(chosen_blank("auto", one) == "white" for one in pixels)
    return torch.ones(3) if 2 * white > len(pixels) else pixels.mean((0, 2, 3))


def shown(pixels: Pixels, masks: Masks, fill: Fill) -> Pixels:
    """Pictures as far as masks in [0, 1] show them: fill + mask (pixel - fill)."""
    colour = fill.to(pixels.device).view(1, 3, 1, 1)
    return colour + masks[:, None] * (pixels - colour)


def unshown(pixels: Pixels, masks: Masks, fill: Fill) -> Pixels:
    """Pictures without the pixels that a mask shows half or more of; the others whole."""
    return shown(pixels, (masks < HALF).float(), fill)


def holes(count: int, size: tuple[int, int], share: float, source: torch.Generator) -> Masks:
    """Masks of 0 and 1 for so many pictures: each has holes with the probability `share`, and else hides nothing.

    A grid of 4, 8, 16 or 32 cells a side, shifted at random, loses each cell with a probability that is drawn for the
    picture, uniform in 0 to 1.
    """
    cells = CELLS[int(torch.randint(len(CELLS), (1,), generator=source))]
    kept = torch.rand(count, 1, 1, generator=source)
    grid = (torch.rand(count, cells + 1, cells + 1, generator=source) < kept).float()
    rows, columns = (
        (torch.arange(side) * cells / side + torch.rand(1, generator=source)).long().clamp(max=cells) for side in size
    )
    pierced = torch.rand(count, 1, 1, generator=source) < share
    return torch.where(pierced, grid[:, rows][:, :, columns], 1.0)


def highest_share(heat: Masks, share: float) -> Masks:
    """Masks of 0 and 1 that show this share of each picture's pixels: those of the highest heat, ties by place."""
    flat = heat.flatten(1)
    first = flat.argsort(dim=1, descending=True, stable=True)[:, : round(share * flat.shape[1])]
    return torch.zeros_like(flat).scatter(1, first, 1.0).view_as(heat)
