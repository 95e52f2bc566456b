"""Grids of pictures, in which the place of what a class can come from is known.

In a pointing grid the whole grid goes through the network: a class should be found in the cell of its picture. In a
split grid each cell goes through the network's stages alone, and the head sees one cell: what lies outside it cannot
matter. Source: Rao, Böhle and Schiele, arXiv 2205.10435 (GridPG is after Böhle, Fritz and Schiele).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier
from intaglio.models.scored_network import ScoredClassifier, classifier_score
from intaglio.randomness import generator

SIDES = 2
"""Pictures of a side of a grid."""
SURE = 0.9
"""Probability of the right class of a picture that may stand in a grid, at least."""


@dataclass(frozen=True, eq=False)
class PictureGrid:
    """Four pictures of four classes in a square."""

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
    scored: ScoredClassifier, images: ImageSet, truth: Sequence[int], count: int, seed: int
) -> list[PictureGrid]:
    """Grids of pictures that are called right, surely, of four different classes each; each picture stands in one.

    Fewer than `count` where the pictures do not suffice.
    """
    with torch.no_grad():
        sure = scored.logits(images.pixels).softmax(1).cpu()
    order = torch.randperm(len(images), generator=generator(seed, "grids")).tolist()
    left = [place for place in order if float(sure[place, truth[place]]) >= SURE]
    grids = []
    while len(grids) < count:
        chosen = dict[int, int]()
        for place in left:
            chosen.setdefault(truth[place], place)
            if len(chosen) == SIDES**2:
                break
        if len(chosen) < SIDES**2:
            break
        left = [place for place in left if place not in chosen.values()]
        rows = images.pixels[list(chosen.values())].unflatten(0, (SIDES, SIDES))
        grids.append(PictureGrid(torch.cat([torch.cat(list(row), 2) for row in rows], 1), tuple(chosen)))
    return grids


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


def split_score(classifier: PictureClassifier, head: str, cell: int, side: int) -> ScoredClassifier:
    """A classifier whose stages see each cell of a grid of this side alone, and whose heads see one cell."""
    split = copy.deepcopy(classifier)
    split.stages = nn.Sequential(*map(_Split, split.stages))
    split.add_module("pool", _OneCell(cell))
    return classifier_score(split, head, side=side)
