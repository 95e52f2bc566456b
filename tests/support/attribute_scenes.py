"""Small pictures whose brightness and size are known, with a table and a graph of both."""

import numpy as np
import torch

from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph
from intaglio.explain.counterfactuals.attribute_table import AttributeTable
from intaglio.images.image_set import ImageSet

NAMES = ("brightness", "size")
GRAPH = AttributeGraph.of(NAMES, [NAMES])
SIDE = 16


def squares(count: int = 12) -> tuple[ImageSet, AttributeTable]:
    """Dark squares on white, the brighter the larger; sizes are in tens of pixels of the side."""
    random = np.random.default_rng(0)
    brightness = random.uniform(size=count)
    size = np.clip(np.round(4 + 6 * brightness + random.uniform(-1, 1, count)), 4, 12)
    pixels = torch.ones(count, 3, SIDE, SIDE)
    for k, (bright, wide) in enumerate(zip(brightness.tolist(), size.astype(int).tolist(), strict=True)):
        first = (SIDE - wide) // 2
        pixels[k, :, first : first + wide, first : first + wide] = 0.1 + 0.5 * bright
    names = [f"{k:02d}.png" for k in range(count)]
    return ImageSet.from_pixels(pixels, names), AttributeTable(NAMES, np.stack([brightness, 10 * size], 1))
