"""`Components`: the networks, tokenizers and settings that make up a latent-diffusion model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.models.diffusion.baked_sampling import FREE, BakedSampling
from intaglio.models.diffusion.noise_schedule import NoiseSchedule


@dataclass(frozen=True, eq=False)
class Components:
    """Networks, tokenizers and settings of one latent-diffusion model: all that checks and files of models need."""

    # Any: what networks of the libraries have beyond a module (config, encode, decode) is not typed there.
    denoiser: Any
    """A `UNet2DConditionModel`."""
    autoencoder: Any
    """An `AutoencoderKL`."""
    text_encoders: tuple[Any, ...]
    """One CLIP text encoder (SD 1/2), or two of which the second projects (SDXL)."""
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
        """The networks by name: denoiser, text_encoder, text_encoder_2 where there are two, autoencoder."""
        names = ("text_encoder", "text_encoder_2")[: len(self.text_encoders)]
        encoders = dict(zip(names, self.text_encoders, strict=True))
        return {"denoiser": self.denoiser, **encoders, "autoencoder": self.autoencoder}

    @property
    def latent_channels(self) -> int:
        """Channels of the latents: 4 in SD 1, 2 and XL."""
        return self.autoencoder.config["latent_channels"]

    @property
    def factor(self) -> int:
        """Pixels along a side of one latent cell."""
        return 2 ** (len(self.autoencoder.config["block_out_channels"]) - 1)

    @property
    def resolution(self) -> int:
        """Pixels along a side of the pictures that the denoiser was trained on."""
        size = self.denoiser.config.sample_size
        return (size if isinstance(size, int) else size[0]) * self.factor

    @property
    def scaling_factor(self) -> float:
        """Factor from the autoencoder's latents to those of the denoiser."""
        return self.autoencoder.config["scaling_factor"]

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
