"""Varied copies of pictures, by which a student learns more of a service than the pictures alone would show."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from intaglio.images.image_set import ImageSet
from intaglio.randomness import generator

ANGLE, SCALE, SHIFT, BRIGHTNESS = 0.2, 0.2, 0.1, 0.2
"""Largest turn in radians, change of size, shift in sides and change of brightness, to both sides."""


def varied_views(images: ImageSet, views: int, seed: int) -> Float[Tensor, "m 3 h w"]:
    """The pictures, and of each `views - 1` copies: mirrored or not, turned, resized, shifted, brighter or darker.

    The copies of a picture follow from the seed and its content.

    Args:
        images: n pictures.
        views: of each, from 1; m = n * views, all pictures of one view together.
        seed: of the changes.
    """
    found = [images.pixels]
    for view in range(1, views):
        draws = torch.stack([torch.rand(6, generator=generator(seed, "view", view, one)) for one in images.hashes])
        mirrored, turn, scale, across, down, light = (2 * draws - 1).T
        angle, size = ANGLE * turn, 1 + SCALE * scale
        side = torch.where(mirrored < 0, -1.0, 1.0)
        rows = [side * angle.cos() * size, -angle.sin() * size, 2 * SHIFT * across]
        rows += [side * angle.sin() * size, angle.cos() * size, 2 * SHIFT * down]
        grid = affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.pixels.shape), align_corners=False)
        moved = 1 - grid_sample(1 - images.pixels, grid, align_corners=False)  # white beyond the border
        found.append((moved * (1 + BRIGHTNESS * light[:, None, None, None])).clamp(0, 1))
    return torch.cat(found)
