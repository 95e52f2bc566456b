"""noisy-upscale: pictures noised, shrunk, enlarged and denoised by a diffusion model."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.images.filters import noised, resized
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.by_model import diffused
from intaglio.protect.purify.family import ModelPurifier


@dataclass(frozen=True, kw_only=True)
class NoisyUpscaling(ModelPurifier):
    """Noisy upscaling: noised, shrunk, enlarged, and denoised by a model.

    Source: arXiv 2406.12027, whose upscaler is a diffusion model of its own; the model at hand stands for it, a proxy.
    """

    deviation: float = 0.1
    """Standard deviation of the noise, of a range of 1, above 0."""
    shrunk: float = 0.5
    """Share of the sides that pictures are shrunk to, above 0 and below 1."""
    share: float = 0.2
    """Share of the model's timesteps up to which they are noised again, in (0, 1]."""
    steps: int = 10
    """Steps back, at most, from 1."""

    def __post_init__(self) -> None:
        require(0 < self.deviation < float("inf"), f"deviation must be above 0, and finite, not {self.deviation}")
        require(0 < self.shrunk < 1, f"shrunk must lie between 0 and 1, not {self.shrunk}")
        require(0 < self.share <= 1, f"share must be above 0 and at most 1, not {self.share}")
        require(self.steps >= 1, f"steps must be at least 1, not {self.steps}")

    @property
    def words(self) -> str:
        """The treatment, with its strength."""
        return "noised, shrunk, enlarged and denoised by a model"

    def cleaned(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """With noise of the seed."""
        rough = resized(noised(pictures, self.deviation, seed), self.shrunk)
        return diffused(rough, model, seed, share=self.share, steps=self.steps)
