"""AdvDM: pictures that a diffusion model denoises badly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.protect.family import SamplingProtector
from intaglio.protect.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True)
class AdvDM(SamplingProtector):
    """AdvDM: raise the denoising loss of the picture, averaged over timesteps and noise.

    The gradient passes through the denoiser and the encoder, whose posterior is sampled. Published (the authors' code):
    a budget of 16, 100 steps of 1 with one sample each, a random start. Several samples a step in fewer steps take the
    encoder's pass less often. `direction` down is the variant that lowers the loss (arXiv 2311.12832).

    Source: arXiv 2302.04578.
    """

    reading: ClassVar[str] = "makes a model denoise the picture badly, so that training on it teaches it noise"
    objective: ClassVar[str] = "denoising loss"

    direction: Literal["up", "down"] = "up"
    """Raise the loss, or lower it, which smooths what a model learns."""

    def gradient(
        self,
        surrogate: Surrogate,
        pixels: Float[Tensor, "m 3 h w"],
        target: Float[Tensor, "1 3 h w"] | None,
        sources: Sequence[torch.Generator],
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3 h w"]]:
        """See `Protector.gradient`."""
        loss, slope = surrogate.denoising_gradient(pixels, self.samples, sources)
        sign = 1.0 if self.direction == "up" else -1.0
        return sign * loss, sign * slope
