"""Weights of pictures that a classifier learns from, by which the slices of a class count as much as its rest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from intaglio.images.image_set import ImageSet


@dataclass(frozen=True, eq=False)
class TaughtPictures:
    """Pictures that a classifier learns from."""

    images: ImageSet
    truth: Sequence[str]
    """The true class of each, by its name."""


def slice_cells(inside: Sequence[Bool[ndarray, "n"]], count: int) -> Int[ndarray, "n"]:
    """The number, from 1, of the first slice that each of so many pictures is in; 0 for one that is in none."""
    cells = np.zeros(count, np.int64)
    for number, members in enumerate(inside, 1):
        cells[members & (cells == 0)] = number
    return cells


def balanced_weights(truth: Int[ndarray, "n"], cells: Int[ndarray, "n"]) -> Float[ndarray, "n"]:
    """Weights by which all cells of a class have the same sum, and each class that of its pictures.

    The mean over all pictures, and over those of a class, is 1.
    """
    weights = np.ones(len(truth))
    for kind in np.unique(truth):
        own = truth == kind
        found, sizes = np.unique(cells[own], return_counts=True)
        for cell, size in zip(found, sizes, strict=True):
            weights[own & (cells == cell)] = own.sum() / (len(found) * size)
    return weights
