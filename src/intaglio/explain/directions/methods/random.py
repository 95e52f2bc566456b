"""random: directions drawn at random, as long as the first principal one."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from numpy import ndarray

from intaglio.errors import require
from intaglio.explain.directions.family import Found, SampledDirections
from intaglio.explain.directions.principal_directions import principal_directions
from intaglio.explain.random_shifts import random_shifts
from intaglio.explain.site_walks import SiteWalks


@dataclass(frozen=True, kw_only=True)
class RandomDirections(SampledDirections):
    """Random directions of a site, as long as its first principal direction.

    A direction is Gaussian, the same at every step but for its length, which is the deviation of the activations along
    their first principal direction there.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "drawn at random"
    unit: ClassVar[str] = "one standard deviation of the activations along their first principal direction"
    repeats: ClassVar[bool] = False

    site: str = "mid_block"
    """Module of the denoiser whose output is shifted, such as mid_block or up_blocks.0."""
    count: int = 3
    """Directions, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.count >= 1, f"count must be at least 1, not {self.count}")

    @property
    def planned_directions(self) -> int:
        """Those of `count`."""
        return self.count

    @property
    def place(self) -> str:
        """The site."""
        return self.site

    def shifts(self, walks: SiteWalks, scores: Mapping[str, Float[ndarray, "n"]], target: str | None) -> Found:
        """See the class."""
        lengths = principal_directions(walks.values, 1)[0].flatten(2).norm(dim=2)
        shape = walks.values.shape[2:]
        rows = [random_shifts(lengths, shape, self.seed, "random direction", k)[0] for k in range(self.count)]
        return torch.stack(rows), [nan] * self.count
