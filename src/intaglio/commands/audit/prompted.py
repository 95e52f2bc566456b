"""Pictures of a folder with the prompts that a model is asked about them with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from intaglio.adapt.picture_prompts import picture_prompts

if TYPE_CHECKING:
    from intaglio.denoising.examples import Examples
    from intaglio.images.image_set import ImageSet
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


@dataclass(frozen=True)
class Prompted:
    """Pictures of a folder with their prompts."""

    images: "ImageSet"
    prompts: tuple[str, ...]

    @classmethod
    def of(cls, images: "ImageSet", prompt: str | None) -> "Prompted":
        """Each picture under its own caption, or else `prompt`. Raises `BadInput` for a picture without either."""
        return cls(images, picture_prompts(images.names, images.captions, prompt, "prompt"))

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Hash and prompt of each picture."""
        return list(zip(self.images.hashes, self.prompts, strict=True))

    def examples(self, model: "LatentDiffusion") -> "Examples":
        """The same with their latents."""
        from intaglio.denoising.examples import Examples

        return Examples.of(model, self.images, self.prompts)
