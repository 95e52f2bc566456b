"""`Components`: the networks, tokenizers and settings that make up a latent-diffusion model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from intaglio.models.diffusion.baked_sampling import FREE, BakedSampling
from intaglio.models.diffusion.families.family import Family
from intaglio.models.diffusion.families.known import family_of
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.prompt_lengths import padded_on


def suffix(place: int) -> str:
    """The end of a text encoder's and a tokenizer's name, by its place: none, `_2`, `_3`."""
    return f"_{place + 1}" if place else ""


@dataclass(frozen=True, eq=False)
class Components:
    """Networks, tokenizers and settings of one latent-diffusion model: all that checks and files of models need."""

    # Any: what networks of the libraries have beyond a module (config, encode, decode) is not typed there.
    denoiser: Any
    """Of the class that its family names, such as a `UNet2DConditionModel`."""
    autoencoder: Any
    """Of the class that its family names, such as an `AutoencoderKL`."""
    text_encoders: tuple[Any, ...]
    """In the order of the family: one of CLIP in SD 1 and 2, two of which the second projects in SDXL."""
    tokenizers: tuple[Any, ...]
    """One for each text encoder."""
    scheduler: Mapping[str, Any]
    """The content of a diffusers `scheduler_config.json`."""
    schedule: NoiseSchedule
    """The noise schedule of `scheduler`."""
    options: Mapping[str, Any]
    """Further entries of `model_index.json` that are no components."""
    sampling: BakedSampling = FREE
    """The sampling that a distilled model was made for."""

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by name: denoiser, text_encoder, text_encoder_2 where there are two, ..., autoencoder."""
        encoders = {f"text_encoder{suffix(k)}": encoder for k, encoder in enumerate(self.text_encoders)}
        return {"denoiser": self.denoiser, **encoders, "autoencoder": self.autoencoder}

    def settled(self) -> "Components":
        """The same with the family's own arithmetic, schedule, padding, and its sampling where no other is baked in."""
        family = self.family
        family.prepare(self.denoiser)
        sampling = family.sampling(self) if self.sampling == FREE else self.sampling
        tokenizers = tuple(padded_on(tokenizer, family.padding_side) for tokenizer in self.tokenizers)
        schedule = family.schedule(self.scheduler, family.image_tokens(self))
        return replace(self, schedule=schedule, tokenizers=tokenizers, sampling=sampling)

    @property
    def family(self) -> Family:
        """The family of the denoiser."""
        return family_of(self.denoiser)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents: 4 in SD 1, 2 and XL."""
        return self.family.latent_channels(self.autoencoder)

    @property
    def factor(self) -> int:
        """Pixels along a side of one latent cell."""
        return self.family.factor(self.autoencoder)

    @property
    def resolution(self) -> int:
        """Pixels along a side of the pictures that the denoiser was trained on."""
        return self.family.side(self) * self.factor

    @property
    def scaling_factor(self) -> float:
        """Factor from the autoencoder's latents to those of the denoiser."""
        return self.family.scaling_factor(self.autoencoder)

    def scaled(self, raw: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d hl wl"]:
        """Latents of the denoiser from those of the autoencoder, as the family has them."""
        return self.family.scaled(self.autoencoder, raw)

    def unscaled(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d hl wl"]:
        """Latents of the autoencoder from those of the denoiser: the inverse of `scaled`."""
        return self.family.unscaled(self.autoencoder, latents)
