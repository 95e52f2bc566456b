"""jpeg: pictures saved as JPEG and read again."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.images.filters import jpeg
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.family import Purifier


@dataclass(frozen=True, kw_only=True)
class JPEGCompression(Purifier):
    """JPEG: saved with a loss, and read again."""

    quality: int = 75
    """Quality of Pillow's writer, 1 to 95; the lower, the more is lost."""

    def __post_init__(self) -> None:
        require(1 <= self.quality <= 95, f"quality must be 1 to 95, not {self.quality}")

    @property
    def label(self) -> str:
        """The name with the quality."""
        return f"{self.name}-{self.quality}"

    @property
    def words(self) -> str:
        """The treatment, with its strength."""
        return f"saved as JPEG of quality {self.quality}"

    def clean(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion | None, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """Through a file in memory."""
        return jpeg(pictures, self.quality)
