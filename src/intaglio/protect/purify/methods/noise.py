"""noise: pictures with Gaussian noise."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.images.filters import noised
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.family import Purifier


@dataclass(frozen=True, kw_only=True)
class AddedNoise(Purifier):
    """Noise: Gaussian noise added, and clipped to the range."""

    deviation: float = 0.05
    """Standard deviation, of a range of 1, above 0."""

    def __post_init__(self) -> None:
        require(0 < self.deviation < float("inf"), f"deviation must be above 0, and finite, not {self.deviation}")

    @property
    def words(self) -> str:
        """The treatment, with its strength."""
        return f"given Gaussian noise of {self.deviation:g} of the range"

    def clean(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion | None, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """With noise of the seed."""
        return noised(pictures, self.deviation, seed)
