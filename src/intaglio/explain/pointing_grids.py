"""Grids of pictures, in which the place of what a class can come from is known.

In a pointing grid of four classes the whole grid goes through the network: a class should be found in the cell of its
picture. In a split grid each cell goes through the network's stages alone, and the head sees one cell: what lies
outside it cannot matter, although the opposite corner holds the same class. Source: Rao, Böhle and Schiele, arXiv
2205.10435 (pointing grids are after Böhle, Fritz and Schiele).
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier
from intaglio.models.scored_network import ScoredClassifier, ScoredNetwork, classifier_score
from intaglio.randomness import generator

SIDES = 2
"""Pictures of a side of a grid."""
CELLS = SIDES**2
POINTED = (0, CELLS - 1)
"""Cells whose classes are explained: two opposite corners."""


@dataclass(frozen=True, eq=False)
class PictureGrid:
    """Four pictures in a square."""

    pixels: Float[Tensor, "3 h w"]
    targets: tuple[int, ...]
    """Place of the class of each cell, row by row."""

    def cell(self, number: int) -> Bool[Tensor, "h w"]:
        """Whether each pixel is in a cell."""
        found = torch.zeros(self.pixels.shape[1:], dtype=torch.bool)
        rows, columns = cell_of(self.pixels.shape[1], number), cell_of(self.pixels.shape[2], number, across=True)
        found[rows, columns] = True
        return found


def cell_of(size: int, number: int, *, across: bool = False) -> slice:
    """Rows of a cell, or its columns."""
    part, place = size // SIDES, number % SIDES if across else number // SIDES
    return slice(place * part, (place + 1) * part)


def picture_grids(
    scored: ScoredNetwork,
    images: ImageSet,
    truth: Sequence[int],
    count: int,
    seed: int,
    *,
    sure: float = 0.5,
    repeated: bool = False,
) -> list[PictureGrid]:
    """Grids of pictures whose class is right and has at least the probability `sure`; each picture stands in one.

    Args:
        scored: the network.
        images: as the network takes them.
        truth: place of each picture's class.
        count: of grids; fewer are given where the pictures do not suffice.
        seed: of the order of the pictures.
        sure: in [0, 1]; published with 0.99.
        repeated: whether the last cell has the class of the first; else all four differ.
    """
    with torch.no_grad():
        found = torch.cat([scored.logits(part).softmax(1).cpu() for part in images.pixels.split(256)])
    order = torch.randperm(len(images), generator=generator(seed, "grids")).tolist()
    left = dict[int, list[int]]()
    for place in order:
        if float(found[place, truth[place]]) >= sure:
            left.setdefault(truth[place], []).append(place)
    grids = list[PictureGrid]()
    while len(grids) < count and (chosen := _taken(left, repeated)):
        if not repeated:  # else the corners are what they must be
            turned = torch.randperm(CELLS, generator=generator(seed, "cells", len(grids))).tolist()
            chosen = [chosen[cell] for cell in turned]
        rows = images.pixels[chosen].unflatten(0, (SIDES, SIDES))
        whole = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
        grids.append(PictureGrid(whole, tuple(truth[place] for place in chosen)))
    return grids


def _taken(left: Mapping[int, list[int]], repeated: bool) -> list[int]:
    """Takes the pictures of a grid from those that are left by class, of the largest classes; none where too few are.

    The classes with most pictures left come first, so that the pictures last for many grids.
    """
    classes = sorted((one for one in left if left[one]), key=lambda one: (-len(left[one]), one))
    wanted = classes[: CELLS - 1] if repeated else classes[:CELLS]
    if repeated:
        wanted = [*wanted, *(one for one in wanted[:1] if len(left[one]) > 1)]
    return [left[one].pop() for one in wanted] if len(wanted) == CELLS else []


class _Split(nn.Module):
    """A stage that sees each cell of a grid alone; the maps are put side by side again."""

    def __init__(self, stage: nn.Module):
        super().__init__()
        self.alone = stage

    def forward(self, given: Tensor) -> Tensor:
        rows = torch.stack([part for row in given.chunk(SIDES, 2) for part in row.chunk(SIDES, 3)], 1)
        maps = self.alone(rows.flatten(0, 1)).unflatten(0, (len(given), SIDES, SIDES))
        return torch.cat([torch.cat(list(row.unbind(1)), 3) for row in maps.unbind(1)], 2)


class _OneCell(nn.Module):
    """The mean of maps over one cell."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number

    def forward(self, maps: Tensor) -> Tensor:
        rows, columns = (cell_of(maps.shape[2 + k], self.number, across=bool(k)) for k in (0, 1))
        return maps[:, :, rows, columns].mean((2, 3), keepdim=True)


def split_score(scored: ScoredClassifier, cell: int, side: int) -> ScoredClassifier:
    """A classifier whose stages see each cell of a grid of this side alone, and whose heads see one cell."""
    split: PictureClassifier = copy.deepcopy(scored.network)
    split.stages = nn.Sequential(*map(_Split, split.stages))
    split.add_module("pool", _OneCell(cell))
    return classifier_score(split, scored.head, scored.score_of, side)


def at_side(scored: ScoredNetwork, side: int) -> ScoredNetwork:
    """The same score of pictures of another side."""
    return replace(scored, side=side)
