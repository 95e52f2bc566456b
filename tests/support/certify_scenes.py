"""Tiny classifiers, one of them linear with a known distance from its plane."""

import torch
from torch import Tensor, nn

import tiny
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier, new_classifier

HEAD = "kind"


def pictures(count: int) -> ImageSet:
    return ImageSet.from_pixels(tiny.pixels(count, seed=3))


def classifier(seed: int = 0) -> PictureClassifier:
    """Two heads, untrained."""
    heads = {HEAD: ("animal", "food", "place"), "artist": ("one", "two")}
    return new_classifier(heads, seed, widths=(4, 6), repeats=(1, 1)).eval().requires_grad_(False)


def linear(pixels: Tensor, distance: float) -> tuple[PictureClassifier, float]:
    """A classifier of two classes with a plane between them, at a Euclidean distance from a picture."""
    net = new_classifier({HEAD: ("near", "far")}, 0, widths=(4,), repeats=(1,)).eval().requires_grad_(False)
    slope = torch.randn(pixels.numel(), generator=torch.Generator().manual_seed(1))
    slope = slope / slope.norm()
    offset = distance - float(slope @ pixels.flatten())

    class Plane(nn.Module):
        def forward(self, given: Tensor) -> Tensor:
            score = (1 - given).flatten(1) @ slope + offset  # the network takes ink for 1
            return torch.stack([score, torch.zeros_like(score)], 1)[..., None, None]

    net.stages = nn.Sequential(Plane())
    net.heads = nn.ModuleDict({HEAD: nn.Identity()})
    net.register_parameter("anchor", nn.Parameter(torch.zeros(1)))
    return net, distance
