"""resize: pictures shrunk and enlarged again."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.images.filters import resized
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.family import Purifier


@dataclass(frozen=True, kw_only=True)
class Resizing(Purifier):
    """Resizing: shrunk to a share of the sides and enlarged again, bicubic."""

    share: float = 0.5
    """Share of the sides, above 0 and below 1."""

    def __post_init__(self) -> None:
        require(0 < self.share < 1, f"share must lie between 0 and 1, not {self.share}")

    @property
    def words(self) -> str:
        """The treatment, with its strength."""
        return f"shrunk to {self.share:.0%} of their sides and enlarged again"

    def clean(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion | None, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """Both ways bicubic."""
        return resized(pictures, self.share)
