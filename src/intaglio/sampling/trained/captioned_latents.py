"""`CaptionedLatents`: latents of pictures with their captions, from which a training learns."""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

CHUNK = 8
"""Pictures encoded at a time."""


@dataclass(frozen=True, eq=False)
class CaptionedLatents:
    """Clean latents, each with a caption."""

    latents: Float[Tensor, "n c h w"]
    """On the CPU, float32."""
    captions: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.latents) or len(self.latents) != len(self.captions):
            raise ValueError(f"give as many captions as latents, one or more, not {len(self.captions)}")

    @classmethod
    def of_pictures(cls, model: LatentDiffusion, images: ImageSet) -> "CaptionedLatents":
        """The latents of pictures. Raises `BadInput` where there are none, or one has no caption."""
        return cls(*encoded_pictures(model, images))

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Sha256 over each latent, and its caption."""
        rows = zip(self.latents, self.captions, strict=True)
        return [(hashlib.sha256(row.contiguous().numpy().tobytes()).hexdigest(), caption) for row, caption in rows]

    @property
    def hash(self) -> str:
        """Sha256 over latents and captions."""
        digest = hashlib.sha256(self.latents.contiguous().numpy().tobytes())
        digest.update(repr(self.captions).encode())
        return digest.hexdigest()


@torch.no_grad()
def encoded_pictures(
    model: LatentDiffusion, images: ImageSet, instead: str = ""
) -> tuple[Float[Tensor, "n c h w"], tuple[str, ...]]:
    """Latents and captions of pictures; `instead` is a further remedy that ends the sentence of an error.

    Raises `BadInput` where there are no pictures, or one has no caption.
    """
    if not len(images):
        raise BadInput(f"there are no pictures to learn from; give a folder with at least one{instead}")
    captions = images.captions
    if bare := [name for name, caption in zip(images.names, captions, strict=True) if caption is None]:
        raise BadInput(f"{bare[0]} has no caption; put a .txt file of the same name beside it{instead}")
    parts = images.pixels.split(CHUNK)
    latents = [model.encode(part.to(model.device, model.dtype)).float().cpu() for part in parts]
    return torch.cat(latents), tuple(str(caption) for caption in captions)
