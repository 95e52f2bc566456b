"""Latents as rows of tokens, of 2x2 cells each, which the denoisers of several families take."""

import torch
from jaxtyping import Float
from torch import Tensor


def packed(latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n t k"]:
    """Tokens row by row; the numbers of one are those of channel, row and column in the cell, in that order."""
    n, c, h, w = latents.shape
    cells = latents.view(n, c, h // 2, 2, w // 2, 2)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(n, h * w // 4, 4 * c)


def unpacked(tokens: Float[Tensor, "n t k"], height: int, width: int) -> Float[Tensor, "n c h w"]:
    """The inverse of `packed`, for latents of these sides in cells."""
    n, _, numbers = tokens.shape
    cells = tokens.view(n, height // 2, width // 2, numbers // 4, 2, 2)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(n, numbers // 4, height, width)


def image_places(height: int, width: int, like: Tensor) -> Float[Tensor, "t 3"]:
    """0, row and column of each token of latents of these sides in cells, in the precision of `like`."""
    rows, columns = torch.meshgrid(torch.arange(height // 2), torch.arange(width // 2), indexing="ij")
    places = torch.stack([torch.zeros_like(rows), rows, columns], -1).flatten(0, 1)
    return places.to(like)
