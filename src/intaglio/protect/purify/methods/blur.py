"""blur: pictures smoothed by a Gaussian."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.images.filters import blurred
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.family import Purifier


@dataclass(frozen=True, kw_only=True)
class Blurring(Purifier):
    """Blur: smoothed by a Gaussian, mirrored at the border."""

    deviation: float = 1.0
    """Standard deviation in pixels, above 0."""

    def __post_init__(self) -> None:
        require(0 < self.deviation < float("inf"), f"deviation must be above 0, and finite, not {self.deviation}")

    @property
    def words(self) -> str:
        """The treatment, with its strength."""
        return f"blurred by a Gaussian of {self.deviation:g} pixels"

    def clean(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion | None, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """By rows, then by columns."""
        return blurred(pictures, self.deviation)
