"""diffuse: pictures noised a little and denoised by a diffusion model."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.by_model import diffused
from intaglio.protect.purify.family import ModelPurifier


@dataclass(frozen=True, kw_only=True)
class Diffusing(ModelPurifier):
    """Diffusing: noised in a model's latents, and denoised again without a prompt.

    Source: the idea of DiffPure (arXiv 2205.07460), with a latent diffusion model and deterministic steps (DDIM).
    """

    share: float = 0.1
    """Share of the model's timesteps up to which pictures are noised, in (0, 1]."""
    steps: int = 10
    """Steps back, at most, from 1."""

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, f"share must be above 0 and at most 1, not {self.share}")
        require(self.steps >= 1, f"steps must be at least 1, not {self.steps}")

    @property
    def words(self) -> str:
        """The treatment, with its strength."""
        return f"noised up to {self.share:.0%} of the timesteps and denoised by a model"

    def cleaned(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """With noise of the seed, for each picture its own."""
        return diffused(pictures, model, seed, share=self.share, steps=self.steps)
