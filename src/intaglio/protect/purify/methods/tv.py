"""tv: pictures smoothed by total variation."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.images.filters import total_variation
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.family import Purifier


@dataclass(frozen=True, kw_only=True)
class TotalVariation(Purifier):
    """Total variation: the nearest picture of less variation, which keeps edges."""

    weight: float = 0.1
    """Weight of the variation against the squared distance, above 0."""
    steps: int = 100
    """Projected-gradient steps on the dual, from 1."""

    def __post_init__(self) -> None:
        require(0 < self.weight < float("inf"), f"weight must be above 0, and finite, not {self.weight}")
        require(self.steps >= 1, f"steps must be at least 1, not {self.steps}")

    @property
    def words(self) -> str:
        """The treatment, with its strength."""
        return "smoothed by total variation"

    def clean(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion | None, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """By Chambolle's algorithm."""
        return total_variation(pictures, self.weight, self.steps)
