"""Post-processing of pictures as they spread: one to three changes at random, each at a random strength."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from intaglio.images.filters import blurred, jpeg, resized

Picture = Float[Tensor, "1 3 h w"]
Change = Callable[[Picture, float], Picture]
"""One picture in [0, 1], with a strength in [0, 1), to one of the same size; it may leave [0, 1]."""


def _cropped(picture: Picture, strength: float) -> Picture:
    """The middle, of 3/4 to all of a side, enlarged again, bilinear."""
    part = 1 - 0.25 * strength
    place = torch.tensor([[[part, 0.0, 0.0], [0.0, part, 0.0]]])
    return grid_sample(picture, affine_grid(place, list(picture.shape), align_corners=False), align_corners=False)


def _turned(picture: Picture, strength: float) -> Picture:
    """Turned by up to 10 degrees, its border repeated."""
    angle = torch.tensor(strength * torch.pi / 18)
    place = torch.stack([angle.cos(), -angle.sin(), angle * 0, angle.sin(), angle.cos(), angle * 0]).view(1, 2, 3)
    grid = affine_grid(place, list(picture.shape), align_corners=False)
    return grid_sample(picture, grid, padding_mode="border", align_corners=False)


CHANGES: dict[str, Change] = {
    "jpeg": lambda picture, strength: jpeg(picture, 95 - int(46 * strength)),
    "crop": _cropped,
    "resize": lambda picture, strength: resized(picture, 1 - 0.5 * strength),
    "rotation": _turned,
    "contrast": lambda picture, strength: 0.5 + (picture - 0.5) * (0.7 + 0.6 * strength),
    "brightness": lambda picture, strength: picture * (0.7 + 0.6 * strength),
    "blur": lambda picture, strength: blurred(picture, 0.3 + 0.7 * strength),
    "grey": lambda picture, strength: picture.mean(1, keepdim=True).expand_as(picture).clone(),
}
"""Changes by name, of those of WILD (arXiv 2504.19595); its super-resolution and JPEG AI want networks."""
MOST_CHANGES = 3


def post_processed(pixels: Float[Tensor, "n 3 h w"], share: float, source: torch.Generator) -> Float[Tensor, "n 3 h w"]:
    """Pictures in [0, 1], about a share of them changed, and rounded to 8 bits.

    Args:
        pixels: in [0, 1].
        share: chance of a picture to be changed, in [0, 1].
        source: of all draws, a fixed number of them a picture.
    """
    if not share:
        return pixels
    found = []
    for picture in pixels:
        draws = torch.rand(2 + MOST_CHANGES, generator=source).tolist()
        order = torch.randperm(len(CHANGES), generator=source).tolist()
        changed = picture[None]
        if draws[0] < share:
            for place, strength in zip(order[: 1 + int(draws[1] * MOST_CHANGES)], draws[2:], strict=False):
                changed = list(CHANGES.values())[place](changed, strength).clamp(0, 1)
            changed = (changed * 255).round() / 255
        found.append(changed)
    return torch.cat(found)
