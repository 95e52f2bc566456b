"""round-trip: pictures through a model's autoencoder."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.by_model import round_trip
from intaglio.protect.purify.family import ModelPurifier


@dataclass(frozen=True, kw_only=True)
class RoundTrip(ModelPurifier):
    """Round trip: encoded by a model's autoencoder and decoded again, with nothing in between."""

    times: int = 1
    """Times through the autoencoder, from 1."""

    def __post_init__(self) -> None:
        require(self.times >= 1, f"times must be at least 1, not {self.times}")

    @property
    def words(self) -> str:
        """The treatment, with its strength."""
        return "encoded and decoded by a model"

    def cleaned(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """The decoder's picture of the mean latents."""
        for _ in range(self.times):
            pictures = round_trip(pictures, model)
        return pictures
