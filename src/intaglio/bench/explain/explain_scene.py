"""Questions of the bench of explanations to a method: planted sums, faithfulness, and places in grids."""

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from intaglio.bench.explain.pointing_grids import SIDES, PictureGrid, picture_grids, split_score
from intaglio.explain.family import Attributor
from intaglio.explain.regions import HIDDEN
from intaglio.images.image_set import ImageSet
from intaglio.metrics.revealing_curves import share_within
from intaglio.models import testbed
from intaglio.models.classifiers import PictureClassifier, new_classifier
from intaglio.models.scored_network import ScoredClassifier, classifier_score
from intaglio.randomness import generator

HEAD = "kind"
PLANTED_SIDE, PLANTED_CELLS = 64, 8
"""Pixels of a planted picture's side, and cells of its grid's side."""
PLANTED = 3
"""Planted networks of a method."""
SANE = 6
"""Pictures that are explained under another head."""
POINTED = (0, SIDES**2 - 1)
"""Cells of a grid whose classes are explained: two opposite corners."""


@dataclass(frozen=True, eq=False)
class ExplainScene:
    """The embedded classifier, pictures of its kinds, and grids of them."""

    seed: int
    pictures: int
    """That are revealed and removed."""
    grids: int

    @cached_property
    def classifier(self) -> PictureClassifier:
        """The embedded one."""
        return testbed.classifier()

    @cached_property
    def scored(self) -> ScoredClassifier:
        """Log-odds of its kinds."""
        return classifier_score(self.classifier, HEAD)

    @cached_property
    def images(self) -> ImageSet:
        """Pictures by the base's artists, by turns."""
        every = testbed.real_pictures()
        return every[list(range(0, len(every), max(1, len(every) // self.pictures)))[: self.pictures]]

    @cached_property
    def grid_pictures(self) -> list[PictureGrid]:
        """Grids of pictures that the classifier is sure of; what it says of them is taken for their class."""
        every = testbed.real_pictures()
        return picture_grids(self.scored, every, self.scored.called(every.pixels).tolist(), self.grids, self.seed)

    def row(self, method: Attributor) -> dict[str, Any]:
        """All figures of one method, by picture and by grid."""
        found = method(self.scored, self.images, self.scored.called(self.images.pixels).tolist())
        rows = found.rows()
        return {
            "planted": [self._planted(method, number) for number in range(PLANTED)],
            **{name: [row[name] for row in rows] for name in ("insertion", "deletion", "chance", "passes")},
            "sanity": self._sanity(method, found.maps),
            "gridpg": self._pointed(method, split=False),
            "difull": self._pointed(method, split=True),
        }

    def _planted(self, method: Attributor, number: int) -> float:
        """Rank correlation of a map, by cells, with the weights of a sum over the cells that are not white."""
        weights = torch.randn(PLANTED_CELLS**2, generator=generator(self.seed, "weights", number))
        noise = torch.rand(1, 3, PLANTED_SIDE, PLANTED_SIDE, generator=generator(self.seed, "planted", number))
        images = ImageSet.from_pixels(0.2 + 0.6 * noise)
        map_ = replace(method, blank="white")(planted_sum(weights), images, [0]).maps[0]
        cells = nn.functional.adaptive_avg_pool2d(map_[None, None], PLANTED_CELLS).flatten()
        return rank_correlation(cells, weights)

    def _sanity(self, method: Attributor, maps: Tensor) -> list[float]:
        """Absolute rank correlations of maps with those under a head drawn at random: near 0 is sane.

        A map that merely changes its sign is the same. Correlations are over the ink: a white page that has 0 under
        both heads would make all maps alike.
        """
        drawn = copy.deepcopy(self.classifier)
        source = generator(self.seed, "head")
        with torch.no_grad():
            for weight in drawn.heads[HEAD].parameters():
                weight.copy_(weight.std() * torch.randn(weight.shape, generator=source))
        images = self.images[: min(SANE, len(self.images))]
        targets = self.scored.called(images.pixels).tolist()
        others = method(classifier_score(drawn, HEAD), images, targets).maps
        ink = (1 - images.pixels).amax(1) > HIDDEN
        return [abs(rank_correlation(maps[k][ink[k]], others[k][ink[k]])) for k in range(len(images))]

    def _pointed(self, method: Attributor, *, split: bool) -> list[float]:
        """Share of the positive map within the cell of its class, for two cells of each grid."""
        found = []
        for grid in self.grid_pictures:
            side, images = grid.pixels.shape[1], ImageSet.from_pixels(grid.pixels[None])
            for cell in POINTED:
                whole = split_score(self.classifier, HEAD, cell, side) if split else self.at(side)
                map_ = method(whole, images, [grid.targets[cell]]).maps[0]
                found.append(share_within(map_, grid.cell(cell)))
        return found

    def at(self, side: int) -> ScoredClassifier:
        """The classifier's score of pictures of another side."""
        return classifier_score(self.classifier, HEAD, side=side)


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's, 0 where either is the same everywhere."""
    ranks = [rankdata(values.numpy()) for values in (one, other)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def planted_sum(weights: Tensor) -> ScoredClassifier:
    """A network whose log-odds of its first class are a sum of weights of the cells that are not white, softly.

    A cell counts by its mean ink: 1 - pixels. There are two stages, so that a layer called stages.1 can be asked.
    """
    net = new_classifier({HEAD: ("yes", "no")}, 0, widths=(4,), repeats=(1,)).eval().requires_grad_(False)
    net.stages, net.heads = nn.Sequential(_Sum(weights), nn.Identity()), nn.ModuleDict({HEAD: nn.Identity()})
    return classifier_score(net, HEAD, side=PLANTED_SIDE)


class _Sum(nn.Module):
    """Ink [n, 3, h, w] to maps [n, 2, cells, cells] whose mean is the weighted sum, and 0."""

    def __init__(self, weights: Tensor):
        super().__init__()
        self.weights = nn.Parameter(weights, requires_grad=False)

    def forward(self, ink: Tensor) -> Tensor:
        side = int(len(self.weights) ** 0.5)
        cells = nn.functional.adaptive_avg_pool2d(ink.mean(1, keepdim=True), side)
        found = len(self.weights) * cells * self.weights.view(side, side)
        return torch.cat([found, torch.zeros_like(found)], 1)
