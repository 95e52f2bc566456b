"""median: each pixel replaced by the median of its neighbours."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.images.filters import medians
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.family import Purifier


@dataclass(frozen=True, kw_only=True)
class MedianFilter(Purifier):
    """Median filter: each number replaced by the median of a square around it."""

    side: int = 3
    """Pixels along a side of the square, odd, from 3."""

    def __post_init__(self) -> None:
        require(self.side >= 3 and self.side % 2 == 1, f"side must be odd and at least 3, not {self.side}")

    @property
    def words(self) -> str:
        """The treatment, with its strength."""
        return f"smoothed by medians of {self.side} by {self.side} pixels"

    def clean(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion | None, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """By channel."""
        return medians(pictures, self.side)
