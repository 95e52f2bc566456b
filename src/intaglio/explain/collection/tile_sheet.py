"""One picture with all thumbnails of a map side by side, in WebP, small enough for a page."""

import io

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from intaglio.images.image_set import to_uint8

SIDES = (64, 48, 32, 24)
"""Pixels of a thumbnail's side, tried from the largest."""
QUALITIES = (85, 70, 50)
SHEET = "tiles.webp"
"""File of a run that is such a picture."""
BUDGET = 1_100_000
"""Bytes of the sheet, at most where the smallest thumbnails allow it."""


def thumbnails(pixels: Float[Tensor, "n 3 h w"], side: int = SIDES[0]) -> UInt8[Tensor, "n 3 s s"]:
    """Pictures of 8 bits, `side` pixels a side or as large as they are where that is less."""
    side = min(side, *pixels.shape[2:])
    return to_uint8(interpolate(pixels, (side, side), mode="area"))


def sheet_columns(count: int) -> int:
    """Thumbnails side by side in a sheet of this many: those of the smallest square."""
    return max(1, -(-count // max(1, int(count**0.5))))


def tile_sheet(tiles: UInt8[Tensor, "n 3 s s"], budget: int = BUDGET) -> tuple[bytes, int]:
    """A WebP file of all thumbnails in rows, from left to right, and the side of one in pixels.

    The largest side and the best quality are taken that fit the budget in bytes, else the smallest and coarsest.
    """
    largest = tiles.shape[-1]
    sides = [side for side in SIDES if side <= largest] or [largest]
    found = b"", sides[-1]
    for side in sides:
        sheet = _beside(tiles if side == largest else thumbnails(tiles.float() / 255, side))
        for quality in QUALITIES:
            buffer = io.BytesIO()
            sheet.save(buffer, "WEBP", quality=quality, method=4)
            found = buffer.getvalue(), side
            if len(found[0]) <= budget:
                return found
            if len(found[0]) > 2 * budget:
                break
    return found


def _beside(tiles: UInt8[Tensor, "n 3 s s"]) -> Image.Image:
    columns, side = sheet_columns(len(tiles)), tiles.shape[-1]
    rows = -(-len(tiles) // columns)
    white = torch.full((rows * columns - len(tiles), 3, side, side), 255, dtype=torch.uint8)
    grid = torch.cat([tiles, white]).unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2)
    return Image.fromarray(grid.reshape(rows * side, columns * side, 3).contiguous().numpy())
