"""Analytic start: at an earlier timestep, from the normal distribution nearest to what noised pictures are there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise
from intaglio.runs.plain_json import digest
from intaglio.runs.tensors import read_state, write_state
from intaglio.sampling.grid import NoiseLevel
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.start import latent_shape

FEWEST = 2
"""Pictures of a fit, at least."""
ENOUGH = 256
"""Pictures from which a fit is as good as those that were published."""
AT_ONCE = 16
"""Pictures that are encoded at once."""


@dataclass(frozen=True, eq=False)
class LatentMoments:
    """Mean and variance of the clean latents of pictures, of one model."""

    mean: Float[Tensor, "c h w"]
    """E[z0], float64."""
    variance: float
    """tr Cov(z0) / d, the mean over the d numbers of a latent of their variances."""
    count: int
    """Pictures that they were fitted to."""
    model: str
    """Fingerprint of the model that encoded them."""
    pictures: str
    """Hash of the pictures."""

    @classmethod
    def fit(cls, model: LatentDiffusion, pictures: ImageSet) -> "LatentMoments":
        """The moments of pictures of the model's own resolution. Raises `BadInput` for fewer than two."""
        if len(pictures) < FEWEST:
            raise BadInput(f"an analytic start needs {FEWEST} pictures, and better {ENOUGH}, not {len(pictures)}")
        with torch.no_grad(), model.frozen():
            parts = [
                model.encode(pictures.pixels[first : first + AT_ONCE].to(model.device)).double().cpu()
                for first in range(0, len(pictures), AT_ONCE)
            ]
        latents = torch.cat(parts)
        variance = float(latents.var(0).mean())
        return cls(latents.mean(0), variance, len(latents), model.fingerprint, hash_of(pictures))

    @cached_property
    def hash(self) -> str:
        """Changes with the model and with the pictures."""
        return hash_of_fit(self.model, self.pictures)

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        about = {"kind": "latent moments", "variance": self.variance, "count": self.count}
        write_state(path, {"mean": self.mean}, {**about, "model": self.model, "pictures": self.pictures})

    @classmethod
    def load(cls, path: Path, model: LatentDiffusion) -> "LatentMoments":
        """The moments in a file. Raises `BadInput` for another file, and for moments of another model."""
        if (read := read_state(path)) is None:
            raise BadInput(f"there is no fitted start {path}; give a file that is there, or a folder of pictures")
        tensors, about = read
        found = cls(tensors["mean"], about["variance"], about["count"], about["model"], about["pictures"])
        side = model.resolution // model.factor
        if found.model != model.fingerprint:
            raise BadInput(
                f"the start {path} was fitted to another model ({str(found.model)[:16]}, and {model.name} is "
                f"{model.fingerprint[:16]}); give that model, or a folder of pictures to fit a start to"
            )
        if found.mean.shape != (model.latent_channels, side, side) or not _is_variance(found.variance):
            raise BadInput(f"{path} holds no start of {model.name}; give a folder of pictures to fit one to")
        return found


@dataclass(frozen=True, eq=False)
class AnalyticStart:
    """Latents s μ + sqrt(n² + s² τ) ξ at signal s and noise n, with unit noise ξ, in place of ξ alone.

    μ = E[z0] and τ = tr Cov(z0) / d are the moments of clean latents. Of all isotropic normal distributions this is the
    nearest to noised latents in the Kullback-Leibler divergence KL(latents ‖ normal). A sampling may then begin at a
    timestep before the last, where unit noise would lack the pictures' mean.

    Source: arXiv 2406.15735, section on inference, for any diffusion model.
    """

    moments: LatentMoments
    first: int | None = None
    """Timestep of the first node; None takes the schedule's last."""

    name = "analytic"
    given_by: ClassVar[str] = "start_pictures"
    must_be_given: ClassVar[bool] = False
    remedy: ClassVar[str] = "give its file, or the pictures of the fit, by --start-pictures"
    noises = 1

    @property
    def hash(self) -> str:
        """That of the moments."""
        return self.moments.hash

    def save(self, path: Path) -> None:
        """Writes the moments."""
        self.moments.save(path)

    def __call__(
        self, context: GuideContext, level: NoiseLevel, rows: Sequence[int], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "n c h w"]:
        """From unit noise, drawn as without this start."""
        return self.from_noise(unit_noise(latent_shape(context), generators), level)

    def from_noise(self, noise: Float[Tensor, "n c h w"], level: NoiseLevel) -> Float[Tensor, "n c h w"]:
        """The latents by unit noise, float64 on the CPU."""
        spread = (level.noise**2 + level.signal**2 * self.moments.variance) ** 0.5
        return level.signal * self.moments.mean.double() + spread * noise.double().cpu()


def _is_variance(value: object) -> bool:
    return isinstance(value, float) and 0 < value < float("inf")


def hash_of(pictures: ImageSet) -> str:
    """A hash of the pictures, whatever their order."""
    return digest(sorted(pictures.hashes))


def hash_of_fit(model: str, pictures: str) -> str:
    """The hash that moments of these pictures by this model have."""
    return digest({"latent moments": 1, "model": model, "pictures": pictures})
