"""Questions of the bench of explanations to a method: planted sums, faithfulness, and places in grids."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.explain.family import Attributor
from intaglio.explain.pointing_grids import PictureGrid, picture_grids
from intaglio.explain.trials import AttributionTrials, rank_correlation
from intaglio.images.image_set import ImageSet
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
    def trials(self) -> AttributionTrials:
        """Questions to every method."""
        grids, repeated = (self.picture_grids(repeated) for repeated in (False, True))
        return AttributionTrials(self.scored, self.images, grids, repeated, SANE, self.seed)

    def picture_grids(self, repeated: bool) -> list[PictureGrid]:
        """Grids of pictures that the classifier is sure of; what it says of them is taken for their class."""
        every = testbed.real_pictures()
        called = self.scored.called(every.pixels).tolist()
        return picture_grids(self.scored, every, called, self.grids, self.seed, repeated=repeated)

    def row(self, method: Attributor) -> dict[str, Any]:
        """All figures of one method, by picture and by grid."""
        found = self.trials(method)
        named = ("insertion", "deletion", "chance", "passes", "sanity", "gridpg", "difull")
        planted = [self._planted(method, number) for number in range(PLANTED)]
        return {"planted": planted, **{name: list(getattr(found, name)) for name in named}}

    def _planted(self, method: Attributor, number: int) -> float:
        """Rank correlation of a map, by cells, with the weights of a sum over the cells that are not white."""
        weights = torch.randn(PLANTED_CELLS**2, generator=generator(self.seed, "weights", number))
        noise = torch.rand(1, 3, PLANTED_SIDE, PLANTED_SIDE, generator=generator(self.seed, "planted", number))
        images = ImageSet.from_pixels(0.2 + 0.6 * noise)
        white = replace(method, blank="white")
        map_ = white.map_of(planted_sum(weights), images.pixels[0], 0, images.hashes[0]).map
        cells = nn.functional.adaptive_avg_pool2d(map_[None, None], PLANTED_CELLS).flatten()
        return rank_correlation(cells, weights)


def planted_sum(weights: Tensor) -> ScoredClassifier:
    """A network whose log-odds of its first class are a sum of weights of the cells that are not white, softly.

    A cell counts by its mean ink: 1 - pixels. There are four stages, so that a layer called stages.3 can be asked.
    """
    net = new_classifier({HEAD: ("yes", "no")}, 0, widths=(4,), repeats=(1,)).eval().requires_grad_(False)
    net.stages = nn.Sequential(_Sum(weights), *(nn.Identity() for _ in range(3)))
    net.heads = nn.ModuleDict({HEAD: nn.Identity()})
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
