"""`Components`: the networks, tokenizers and settings that make up a latent-diffusion model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.models.diffusion.baked_sampling import FREE, BakedSampling
from intaglio.models.diffusion.families.family import Family
from intaglio.models.diffusion.families.known import family_of
from intaglio.models.diffusion.noise_schedule import NoiseSchedule


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
        """The same with the family's own schedule, and its sampling where nothing else is baked in."""
        family = self.family
        sampling = family.sampling(self.denoiser) if self.sampling == FREE else self.sampling
        return replace(self, schedule=family.schedule(self.scheduler, family.tokens(self)), sampling=sampling)

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
        """Factor from the autoencoder's latents to those of the denoiser; 1 where it has none."""
        return self.autoencoder.config.get("scaling_factor", 1.0)

    def scaled(self, raw: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Latents of the denoiser from those of the autoencoder: `(raw - offset) * scaling_factor / deviation`."""
        offset, deviation = (column.to(raw.device, raw.dtype) for column in self._statistics)
        return (raw - offset) * self.scaling_factor / deviation

    def unscaled(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Latents of the autoencoder from those of the denoiser: the inverse of `scaled`."""
        offset, deviation = (column.to(latents.device, latents.dtype) for column in self._statistics)
        return latents * deviation / self.scaling_factor + offset

    @property
    def _statistics(self) -> tuple[Float[Tensor, "1 _ 1 1"], Float[Tensor, "1 _ 1 1"]]:
        """Offset and deviation of the autoencoder's latents, one for all channels or one each; by default 0 and 1."""
        config = self.autoencoder.config
        mean, deviation = (config.get(name) for name in ("latents_mean", "latents_std"))
        offset = [config.get("shift_factor") or 0.0] if mean is None else mean
        columns = (torch.tensor(numbers, dtype=torch.float64) for numbers in (offset, deviation or [1.0]))
        first, second = (column.view(1, -1, 1, 1) for column in columns)
        return first, second
