"""Attacks on marks: purifiers, and two changes that people make without a thought of marks."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from intaglio.images.image_set import to_uint8
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purifiers import PURIFIERS

Pictures = Float[Tensor, "n 3 h w"]
BY_PURIFIERS = ("none", "jpeg-90", "jpeg-50", "blur", "median", "noise", "resize", "ddsp", "round-trip", "diffuse")
"""Purifiers that are attacks, by label."""
CROPPED, BRIGHTER = 0.75, 1.5
"""Share of the sides that a crop keeps, and factor of the brightness."""


def cropped(pictures: Pictures) -> Pictures:
    """The centre of three quarters of the sides, enlarged to the whole again, bicubic."""
    height, width = pictures.shape[-2:]
    top, left = ((side - round(CROPPED * side)) // 2 for side in (height, width))
    part = pictures[..., top : height - top, left : width - left]
    return functional.interpolate(part, (height, width), mode="bicubic").clamp(0, 1)


def brightened(pictures: Pictures) -> Pictures:
    """Pictures of half as much light again, clipped."""
    return (BRIGHTER * pictures).clamp(0, 1)


def _by(label: str) -> Callable[[Tensor, LatentDiffusion, int], Tensor]:
    purifier = PURIFIERS[label]

    def attack(pictures: Tensor, model: LatentDiffusion, seed: int) -> Tensor:
        # One by one, so that what is drawn does not depend on how many there are.
        return torch.cat([purifier.clean(one[None], model, seed + k) for k, one in enumerate(pictures)])

    return attack


ATTACKS: Mapping[str, Callable[[Tensor, LatentDiffusion, int], Tensor]] = {
    **{label: _by(label) for label in BY_PURIFIERS},
    "crop": lambda pictures, model, seed: cropped(pictures),
    "brighter": lambda pictures, model, seed: brightened(pictures),
}
"""By name: from pictures in [0, 1], the model of those that use one, and a seed to pictures of the same size."""


def attacked(name: str, pictures: Pictures, model: LatentDiffusion, seed: int) -> Pictures:
    """Pictures after an attack, as their 8-bit files have them."""
    return to_uint8(ATTACKS[name](pictures, model, seed)).float() / 255
