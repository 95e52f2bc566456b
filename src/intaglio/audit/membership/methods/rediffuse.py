"""ReDiffuse: how well a model brings back a picture that it never saw noised, a membership test of whole samplings."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.membership.family import check_least
from intaglio.audit.membership.per_model import PerModelScore, PromptedModel
from intaglio.denoising.samples import standard_normal
from intaglio.metrics.quality import ssim
from intaglio.randomness import generator
from intaglio.sampling.grid import CLEAN, level_at
from intaglio.sampling.step import ddim_step


@dataclass(frozen=True, kw_only=True)
class ReDiffuse(PerModelScore):
    """ReDiffuse: the error of the mean of several pictures brought back from noise.

    A picture's latents z0 [n, c, h, w] are noised to timestep t with R draws of noise, the same for every picture, and
    each is brought back to the clean end by DDIM in steps of `stride` timesteps. With zbar the mean of the R results
    the score of one model is

        - mean (zbar - z0)^2,    or with `measure` ssim: SSIM(decode(zbar), decode(z0)).

    The error of a single way back is mostly that of the noise; in the mean what is left is the model's own bias, which
    is small at pictures that were trained on. Results are averaged before they are decoded. The paper asks a service
    that varies pictures, and needs nothing but pictures in and out; here the model's own latents are compared.

    Source: arXiv 2405.20771 (ICML 2025). The authors' script takes t = 50 in one step and one draw, and SSIM.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "how near the suspect comes back to the picture from noise, on average over draws"

    timestep: int = 200
    """Timestep t that pictures are noised to, a multiple of `stride`. Published: 50."""
    stride: int = 100
    """Timesteps in a step back, from 1. Published: 50."""
    repeats: int = 8
    """Draws of noise R, from 1. Published: 1 in the script."""
    measure: Literal["latents", "ssim"] = "latents"
    """Distance: the mean squared error of latents, or SSIM of decoded pictures."""
    seed: int = 0
    """Fixes the noise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, {"stride": 1, "repeats": 1})
        if self.timestep < self.stride or self.timestep % self.stride:
            raise ValueError(f"timestep must be a multiple of stride ({self.stride}) above 0, not {self.timestep}")

    @property
    def last_timestep(self) -> int:
        """The timestep that pictures are noised to."""
        return self.timestep

    @property
    def queries(self) -> int:
        """One a step back, for every draw."""
        return self.repeats * (self.timestep // self.stride)

    def score(self, model: PromptedModel, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
        """The negated error of the mean of the ways back, or its SSIM."""
        source = generator(self.seed, "rediffuse", *latents.shape[1:])
        noises = standard_normal(self.repeats, tuple(latents.shape[1:]), source)
        mean = torch.stack([self._back(model, latents, noise) for noise in noises]).mean(0)
        if self.measure == "latents":
            return -(mean - latents).square().flatten(1).mean(1)
        return ssim(*(model.model.decode(z.to(model.model.device)).cpu() for z in (latents, mean)))

    def _back(
        self, model: PromptedModel, latents: Float[Tensor, "n c h w"], noise: Float[Tensor, "c h w"]
    ) -> Float[Tensor, "n c h w"]:
        """Latents noised by one draw, and brought back to the clean end."""
        schedule = model.model.schedule
        x = model.noised(latents, noise.expand_as(latents), self.timestep)
        for t in range(self.timestep, 0, -self.stride):
            then = CLEAN if t == self.stride else level_at(schedule, model.at(t - self.stride))
            x = ddim_step(x, model.noise(x, t), level_at(schedule, model.at(t)), then)
        return x
