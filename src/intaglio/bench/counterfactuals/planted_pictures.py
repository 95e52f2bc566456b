"""Pictures whose attributes have a planted cause: a face whose size follows its brightness.

Brightness b = u1 and size s = 0.4 + 0.4 b + 0.1 u2, with u1 and u2 uniform in [0, 1]. The face is s of the side of the
picture, and the mean of its channels is 0.15 + 0.45 b. What a picture would be with another b or s is known exactly.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

from intaglio.bench.kit.distinct_pictures import distinct_pictures
from intaglio.errors import IntaglioError
from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph
from intaglio.randomness import numpy_generator

SUBJECT = "pensive face, fluent style"
NAMES = ("brightness", "size")
GRAPH = AttributeGraph.of(NAMES, [NAMES])
MEASURED = ("ink-brightness", "ink-side")
"""Measures of the attributes."""
LEAST, GREATEST = np.array([0.0, 0.4]), np.array([1.0, 0.9])
FINER = 4
"""Points a side of a pixel that are drawn and averaged."""


def size_of(brightness: Float[ndarray, "n"], noise: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """The planted mechanism."""
    return 0.4 + 0.4 * brightness + 0.1 * noise


@dataclass(frozen=True, eq=False)
class PlantedPictures:
    """Planted pictures with what they were made of."""

    noises: Float[ndarray, "n 2"]
    """u1 and u2."""
    values: Float[ndarray, "n 2"]
    """b and s."""
    pixels: Float[Tensor, "n 3 r r"]

    def after(self, place: int, to: Float[ndarray, "n"]) -> Float[ndarray, "n 2"]:
        """True values after one attribute is set, each picture with its own u2."""
        if place == 0:
            return np.stack([to, size_of(to, self.noises[:, 1])], 1)
        return np.stack([self.values[:, 0], to], 1)


def planted_pictures(count: int, seed: int, stream: int, resolution: int) -> PlantedPictures:
    """Pictures of noises that are drawn by the seed and the number of a stream."""
    noises = numpy_generator(seed, stream).uniform(size=(count, 2))
    values = np.stack([noises[:, 0], size_of(*noises.T)], 1)
    return PlantedPictures(noises, values, drawn_faces(values, resolution))


def drawn_faces(values: Float[ndarray, "n 2"], resolution: int) -> Float[Tensor, "n 3 r r"]:
    """Pictures of values b and s."""
    face, ink = _subject()
    mean = float((face * ink).sum() / (3 * ink.sum()))
    found = []
    for brightness, size in values.tolist():
        lit = (face * ((0.15 + 0.45 * brightness) / mean)).clamp(0, 1)
        shape = [1, 4, resolution * FINER, resolution * FINER]
        grid = affine_grid(torch.tensor([[[1 / size, 0, 0], [0, 1 / size, 0]]]).float(), shape, align_corners=False)
        lit_ink, share = grid_sample(torch.cat([lit * ink, ink])[None], grid, align_corners=False)[0].split((3, 1))
        found.append(avg_pool2d(lit_ink + 1 - share, FINER).clamp(0, 1))
    return torch.stack(found)


@cache
def _subject() -> tuple[Float[Tensor, "3 r r"], Float[Tensor, "1 r r"]]:
    """The face within its square, and how much of each pixel is ink."""
    _, pixels, captions = distinct_pictures()
    if SUBJECT not in captions:
        raise IntaglioError(f"the pictures that ship have no {SUBJECT}; install the package again")
    face = pixels[captions.index(SUBJECT)]
    ink = ((1 - face).amax(0, keepdim=True) * 8).clamp(0, 1)
    rows, columns = (torch.nonzero(ink[0].amax(axis) > 0.5).flatten() for axis in (1, 0))
    side = int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1
    window = (slice(None), slice(int(rows[0]), int(rows[0]) + side), slice(int(columns[0]), int(columns[0]) + side))
    return face[window], ink[window]
