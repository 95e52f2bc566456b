"""Pictures of planted classes, and a small classifier whose features tell them apart."""

import torch

from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import new_classifier


def classes(each=6, seed=0, side=16):
    """Red and blue pictures with noise, so that no two are alike."""
    found = {}
    for place, name in enumerate(("red", "blue")):
        source = torch.Generator().manual_seed(10 * seed + place)
        pixels = 0.3 * torch.rand(each, 3, side, side, generator=source)
        pixels[:, 2 * place] += 0.6
        found[name] = ImageSet.from_pixels(pixels, [f"{name}-{seed}-{k}" for k in range(each)])
    return found


def small_classifier(seed=0):
    return new_classifier({"kind": ("a", "b", "c")}, seed, (4, 6), (1, 1)).eval().requires_grad_(False)
