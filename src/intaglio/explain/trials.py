"""Questions to an attribution method on a network: faithfulness, places in grids, and a head drawn at random."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.explain.family import Attributor
from intaglio.explain.pointing_grids import POINTED, PictureGrid, at_side, split_score
from intaglio.explain.regions import HIDDEN
from intaglio.images.image_set import ImageSet
from intaglio.metrics.localisation import share_within
from intaglio.models.scored_network import ScoredClassifier, ScoredNetwork
from intaglio.randomness import generator


@dataclass(frozen=True, eq=False)
class TrialAnswers:
    """Answers of one method to all questions."""

    insertion: tuple[float, ...]
    """Area under the class's probability while a picture is revealed in the order of its map; one a picture."""
    deletion: tuple[float, ...]
    """The same while it is removed."""
    chance: tuple[float, ...]
    """Insertion in a random order."""
    passes: tuple[int, ...]
    """Pictures that went through the network for a map."""
    sanity: tuple[float, ...]
    """Absolute rank correlation of a map with that under a head drawn at random; one a picture, none where the network
    shows no head."""
    gridpg: tuple[float, ...]
    """Share of the positive map in the cell of its class, by grid and corner: 0.25 for a uniform map; empty without
    grids."""
    difull: tuple[float, ...]
    """The same where nothing outside the cell can matter; empty where the network cannot be split."""
    pointed: Float[Tensor, "n h w"]
    """The maps that `gridpg` is of."""
    split: Float[Tensor, "m hs ws"]
    """The maps that `difull` is of."""


@dataclass(frozen=True, eq=False)
class AttributionTrials:
    """A network, pictures, and grids of them."""

    scored: ScoredNetwork
    images: ImageSet
    """That are revealed and removed."""
    grids: Sequence[PictureGrid]
    """Of four classes; none where the pictures make none."""
    repeated: Sequence[PictureGrid]
    """Of three, one of them in two opposite corners."""
    sane: int
    """Pictures that are explained under another head."""
    seed: int

    def __call__(self, method: Attributor) -> TrialAnswers:
        """The answers of a method. Raises `BadInput` where the method does."""
        targets = self.scored.called(self.images.pixels).tolist()
        found = method(self.scored, self.images, targets)
        rows = [one.faithful for one in found.pictures]
        pointed, split = self.pointed(method, self.grids), self.split(method)
        return TrialAnswers(
            insertion=tuple(one.insertion for one in rows),
            deletion=tuple(one.deletion for one in rows),
            chance=tuple(one.chance for one in rows),
            passes=tuple(one.passes for one in found.pictures),
            sanity=self.sanity(method, found.maps),
            gridpg=shares(pointed, self.grids) if len(pointed) else (),
            difull=shares(split, self.repeated) if len(split) else (),
            pointed=pointed,
            split=split,
        )

    def sanity(self, method: Attributor, maps: Float[Tensor, "n h w"]) -> tuple[float, ...]:
        """Absolute rank correlations of maps with those under a head drawn at random: near 0 is sane.

        A map that merely changes its sign is the same. Correlations are over the ink: a white page that has 0 under
        both heads would make all maps alike.
        """
        drawn = with_random_head(self.scored, self.seed)
        if drawn is None:
            return ()
        images = self.images[: min(self.sane, len(self.images))]
        found = list[float]()
        for k, target in enumerate(self.scored.called(images.pixels).tolist()):
            other = method.map_of(drawn, images.pixels[k], target, images.hashes[k]).map
            ink = (1 - images.pixels[k]).amax(0) > HIDDEN
            found.append(abs(rank_correlation(maps[k][ink], other[ink])))
        return tuple(found)

    def pointed(self, method: Attributor, grids: Sequence[PictureGrid]) -> Float[Tensor, "n h w"]:
        """Maps of whole grids for the classes of two corners each."""
        if not grids:
            return torch.empty(0, 1, 1)
        whole = at_side(self.scored, grids[0].pixels.shape[1])
        return torch.stack([_map(method, whole, grid, cell) for grid in grids for cell in POINTED])

    def split(self, method: Attributor) -> Float[Tensor, "m h w"]:
        """Maps of grids whose cells go through the network alone; none where the network cannot be split."""
        if not isinstance(self.scored, ScoredClassifier) or not self.repeated:
            return torch.empty(0, 1, 1)
        side = self.repeated[0].pixels.shape[1]
        corners = [split_score(self.scored, cell, side) for cell in POINTED]
        try:
            method.check(corners[0])
        except BadInput:  # a layer within a stage, whose maps are of one cell each
            return torch.empty(0, 1, 1)
        pairs = [(grid, place) for grid in self.repeated for place in range(len(POINTED))]
        return torch.stack([_map(method, corners[place], grid, POINTED[place]) for grid, place in pairs])


def _map(method: Attributor, scored: ScoredNetwork, grid: PictureGrid, cell: int) -> Float[Tensor, "h w"]:
    """The map of a grid for the class of a cell."""
    content = ImageSet.from_pixels(grid.pixels[None]).hashes[0]
    return method.map_of(scored, grid.pixels, grid.targets[cell], content).map


def check_grids(scored: ScoredNetwork, grids: Sequence[PictureGrid]) -> None:
    """Raises `BadInput` for a network that does not take pictures of their size."""
    if not grids:
        return
    side = grids[0].pixels.shape[1]
    try:
        with torch.no_grad():
            at_side(scored, side).logits(grids[0].pixels[None])
    except (RuntimeError, ValueError, BadInput) as error:
        raise BadInput(f"the network does not take grids of {side}x{side} pixels, four pictures at once") from error


def shares(maps: Float[Tensor, "n h w"], grids: Sequence[PictureGrid]) -> tuple[float, ...]:
    """Share of each positive map in its cell; maps are in the order of grids, and of corners within each."""
    cells = [grid.cell(cell) for grid in grids for cell in POINTED]
    return tuple(share_within(one, cell) for one, cell in zip(maps, cells, strict=True))


def with_random_head(scored: ScoredNetwork, seed: int) -> ScoredNetwork | None:
    """A copy whose last linear layer is drawn at random, each tensor with its own deviation; None without one."""
    if not scored.layers:
        return None
    drawn = replace(scored, network=copy.deepcopy(scored.network))
    head = drawn.head_layer
    if head is None or not any(True for _ in head.parameters()):
        return None
    source = generator(seed, "head")
    with torch.no_grad():
        for weight in head.parameters():
            noise = torch.randn(weight.shape, generator=source)
            weight.copy_(weight.std() * noise if weight.numel() > 1 else noise)
    return drawn


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's, 0 where either is the same everywhere."""
    ranks = [rankdata(values.numpy()) for values in (one, other)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])
