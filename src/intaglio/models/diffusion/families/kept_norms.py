"""Classifier-free guidance that keeps norms of the prompt's own velocity, as Qwen-Image and Lumina-Image 2 have it."""

from dataclasses import dataclass

from jaxtyping import Float, Real
from torch import Tensor

from intaglio.models.diffusion.families.packing import packed, unpacked
from intaglio.models.diffusion.noise_schedule import NoiseSchedule


@dataclass(frozen=True)
class KeptNorms:
    """Classifier-free guidance that keeps, in each token of 2x2 cells, the norm of the prompt's own velocity.

    v = negative + scale * (positive - negative), times |positive| / |v|, in velocities.
    """

    schedule: NoiseSchedule
    """A straight path, on which the noise is (latents + signal * velocity) / (signal + noise level)."""
    of_rows: bool = False
    """Whether the norms are those of each channel's rows of cells, in place of tokens."""

    def __call__(
        self,
        latents: Float[Tensor, "n c h w"],
        t: Real[Tensor, "n"],
        negative: Float[Tensor, "n c h w"],
        positive: Float[Tensor, "n c h w"],
        scale: float,
    ) -> Float[Tensor, "n c h w"]:
        """The combined noise, float64: velocities are a small part of it where the signal is."""
        signal, level = self.schedule.levels(t)
        whole = (signal + level).to(latents.device).view(-1, 1, 1, 1)
        x = latents.double()
        velocities = (eps.double() * whole - x for eps in (negative, positive))
        against, along = velocities if self.of_rows else (packed(v) for v in velocities)
        found = against + scale * (along - against)
        found = found * along.norm(dim=-1, keepdim=True) / found.norm(dim=-1, keepdim=True).clamp(min=1e-300)
        return ((found if self.of_rows else unpacked(found, *latents.shape[-2:])) + x) / whole
