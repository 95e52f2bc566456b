"""Settings of methods that show and hide regions of a picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.explain.blank import blank_of
from intaglio.explain.family import Attributor
from intaglio.explain.regions import NEEDED, Cut, grid_regions, ranked_regions, segments, without_blanks
from intaglio.explain.revealed_scores import RevealedScores
from intaglio.models.scored_network import ScoredNetwork
from intaglio.randomness import generator_32bit

MOST = 256
"""Regions, at most."""


@dataclass(frozen=True, kw_only=True)
class RegionAttributor(Attributor):
    """A method that asks the network about sets of regions of a picture.

    Regions that are as the blank is are none: shown or hidden, the picture is the same, so that they have 0.
    """

    cut: Cut = "segments"
    """The regions: segments (connected parts of like colour, by SLIC), grid (squares), or ranked (sets of squares of
    like gradient)."""
    regions: int = 50
    """Regions that a picture is cut into, about, 2 to 256: more are finer, and take more passes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(2 <= self.regions <= MOST, f"regions must be 2 to {MOST}, not {self.regions}")

    def check(self, scored: ScoredNetwork) -> None:
        """As the family's; raises `BadInput` without the library that cuts segments, too."""
        super().check(scored)
        if self.cut == "segments":
            try:
                import skimage.segmentation  # noqa: F401 - whether it is there
            except ImportError as error:
                raise BadInput(NEEDED) from error

    def revealed(self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int) -> RevealedScores:
        """Scores of sets of the picture's regions."""
        blank = blank_of(self.blank, pixels)
        regions = without_blanks(self._cut(scored, pixels, blank, target), pixels, blank)
        return RevealedScores(scored, pixels, blank, regions, target, self.batch)

    def _cut(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], blank: Float[Tensor, "3 h w"], target: int
    ) -> Int[Tensor, "h w"]:
        height, width = pixels.shape[1:]
        if self.cut == "grid":
            return grid_regions(height, width, self.regions)
        if self.cut == "segments":
            found = segments(pixels, self.regions)
            return found if int(found.max()) else grid_regions(height, width, self.regions)  # one flat colour
        with torch.enable_grad():
            given = pixels[None].to(scored.device).requires_grad_()
            (slope,) = torch.autograd.grad(scored.score(given, target).sum(), given)
        return ranked_regions((slope[0].cpu() * (pixels - blank)).abs().sum(0), self.regions)


@contextmanager
def own_draws(seed: int, *labels: str) -> Iterator[None]:
    """While the block runs, torch's global generator follows from seed and labels; then it is as it was before.

    For libraries that draw from it alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(generator_32bit(seed, *labels).get_state())
        yield
