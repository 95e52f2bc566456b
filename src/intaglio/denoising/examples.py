"""`Examples`: pictures as a denoiser is trained on them, clean latents with a prompt each, and their latents."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

CHUNK = 8
"""Pictures or prompts encoded at a time while a set is prepared."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Pictures with the prompt and the clean latent that a model is asked about, in one order."""

    images: ImageSet
    """The pictures, with their names and content hashes."""
    prompts: tuple[str, ...]
    """A prompt each."""
    latents: Float[Tensor, "n c h w"]
    """Means of the autoencoder's posterior, scaled as the denoiser takes them; float32 on the CPU."""

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.prompts) == len(self.latents):
            counts = f"{len(self.images)}, {len(self.prompts)} and {len(self.latents)}"
            raise ValueError(f"pictures, prompts and latents must be as many, not {counts}")

    @classmethod
    def of(cls, model: LatentDiffusion, images: ImageSet, prompts: Sequence[str]) -> "Examples":
        """The pictures, one or more, encoded by a model, which is left as found.

        `prompts` has one a picture. Raises `ValueError` for another number, and `BadInput` for sides that the
        autoencoder cannot take.
        """
        with model.frozen():
            return cls(images, tuple(prompts), encoded(model, images.pixels).float().cpu())

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def names(self) -> tuple[str, ...]:
        """The pictures' names, which differ from each other."""
        return self.images.names

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Hash and prompt of each, which say what a model is asked."""
        return list(zip(self.hashes, self.prompts, strict=True))

    @property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of each picture's pixels."""
        return self.images.hashes


@torch.no_grad()
def encoded(model: LatentDiffusion, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c hl wl"]:
    """The latents of pictures, some at a time, on the model's device."""
    return torch.cat([model.encode(part.to(model.device, model.dtype)) for part in pixels.split(CHUNK)])
