"""Tiny classifiers, one of them linear with a known distance from its plane."""

import torch
from torch import Tensor, nn

import tiny
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier, new_classifier

HEAD = "kind"


def pictures(count: int) -> ImageSet:
    return ImageSet.from_pixels(tiny.pixels(count, seed=3))


def classifier(seed: int = 0, *, levels: bool = False) -> PictureClassifier:
    """Two heads, untrained; with `levels`, one that takes noise levels, of which it makes something."""
    heads = {HEAD: ("animal", "food", "place"), "artist": ("one", "two")}
    net = new_classifier(heads, seed, widths=(4, 6), repeats=(1, 1), levels=levels).eval().requires_grad_(False)
    if net.levels is not None:
        net.levels.outward.weight.normal_(generator=torch.Generator().manual_seed(seed))
    return net


def by_level(border: float) -> PictureClassifier:
    """A classifier that calls all pictures `quiet` where it is told a level below a border, and else `loud`."""
    net = new_classifier({HEAD: ("quiet", "loud")}, 0, widths=(4,), repeats=(1,), levels=True).eval()

    def told(pixels: Tensor, sigma: Tensor | float | None = None) -> Tensor:
        loud = torch.as_tensor(0.0 if sigma is None else sigma).expand(len(pixels)) >= border
        return torch.stack([~loud, loud], 1).float()

    object.__setattr__(net, "features", told)
    net.heads = nn.ModuleDict({HEAD: nn.Identity()})
    return net.requires_grad_(False)


def linear(pixels: Tensor, distance: float, *, levels: bool = False) -> tuple[PictureClassifier, float]:
    """A classifier of two classes with a plane between them, at a Euclidean distance from a picture.

    With `levels` it takes noise levels, and makes nothing of them.
    """
    heads = {HEAD: ("near", "far")}
    net = new_classifier(heads, 0, widths=(4,), repeats=(1,), levels=levels).eval().requires_grad_(False)
    slope = torch.randn(pixels.numel(), generator=torch.Generator().manual_seed(1))
    slope = slope / slope.norm()
    offset = distance - float(slope @ pixels.flatten())

    class Plane(nn.Module):
        def forward(self, given: Tensor) -> Tensor:
            score = (1 - given).flatten(1) @ slope + offset  # the network takes ink for 1
            return torch.stack([score, torch.zeros_like(score)], 1)[..., None, None]

    net.stages = nn.Sequential(Plane())
    if levels:
        object.__setattr__(net, "features", lambda given, sigma=None: net.stages(1 - given).flatten(1))
    net.heads = nn.ModuleDict({HEAD: nn.Identity()})
    net.register_parameter("anchor", nn.Parameter(torch.zeros(1)))
    return net, distance
