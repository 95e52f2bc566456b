"""Pictures in which the pixels that tell the class are known: a coloured patch, and a second copy of it elsewhere."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.images.image_set import ImageSet
from intaglio.randomness import generator

COLOURS = {"red": (0.9, 0.2, 0.2), "green": (0.2, 0.7, 0.2), "blue": (0.2, 0.3, 0.9), "yellow": (0.9, 0.8, 0.1)}
"""Of the patches, by class."""
COPIES, OTHERS = 2, 2
"""Patches that tell the class, and grey ones of the same size, in every picture."""
SPECKS = 0.08
"""Largest darkness of the specks of the page."""


@dataclass(frozen=True, eq=False)
class PlantedPatches:
    """Pictures on white, each with two patches of the colour of its class."""

    images: ImageSet
    labels: list[str]
    truth: Bool[Tensor, "n s s"]
    """Whether a pixel is of a coloured patch."""


def planted_patches(count: int, side: int, patch: int, seed: int) -> PlantedPatches:
    """Pictures of four classes, as many of each, whose patches lie in different cells of a grid, drawn at random.

    Args:
        count: of pictures.
        side: pixels of a side, a multiple of `patch`.
        patch: pixels of a side of a patch.
        seed: of places and specks.
    """
    source, cells = generator(seed, "planted patches"), side // patch
    specks = SPECKS * torch.rand(count, 1, side, side, generator=source)
    pixels, truth = (1 - specks).repeat(1, 3, 1, 1), torch.zeros(count, side, side, dtype=torch.bool)
    names = list(COLOURS)
    for k in range(count):
        colour = torch.tensor(COLOURS[names[k % len(names)]])
        taken = torch.randperm(cells**2, generator=source)[: COPIES + OTHERS].tolist()
        for number, cell in enumerate(taken):
            rows, columns = (slice(place * patch, (place + 1) * patch) for place in divmod(cell, cells))
            pixels[k, :, rows, columns] = colour.view(3, 1, 1) if number < COPIES else 0.5
            truth[k, rows, columns] |= number < COPIES
    labels = [names[k % len(names)] for k in range(count)]
    return PlantedPatches(ImageSet.from_pixels(pixels, [f"{k:04d}" for k in range(count)]), labels, truth)


def recall(masks: Float[Tensor, "n s s"], truth: Bool[Tensor, "n s s"]) -> float:
    """Share of the planted pixels of which a mask shows half or more."""
    return float((masks >= 0.5)[truth].float().mean())


def precision(masks: Float[Tensor, "n s s"], truth: Bool[Tensor, "n s s"]) -> float:
    """Share of what the masks show that is planted."""
    return float(masks[truth].sum() / masks.sum().clamp_min(1e-9))
