"""SDS: pictures moved along the residual of a model's noise prediction, without a backward pass of the denoiser."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.denoising.losses import noise_predictions
from intaglio.protect.family import SamplingProtector
from intaglio.protect.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True)
class SDS(SamplingProtector):
    """SDS: move the picture along the residual of the noise prediction.

    The residual, predicted less true noise, is passed back through the encoder alone. It is the gradient of the
    denoising loss without the denoiser's Jacobian (score distillation), so that the denoiser needs no backward pass.
    The authors advise to lower the loss. Published: a budget of 16, 100 steps of 1 with one sample each, no random
    start, residuals not weighted by timestep.

    Source: arXiv 2311.12832.
    """

    reading: ClassVar[str] = "moves the picture to where a model's denoiser pushes it, which smooths what is learned"
    objective: ClassVar[str] = "denoising loss, in the chosen direction"

    direction: Literal["up", "down"] = "down"
    """Lower the loss, or raise it."""

    def gradient(
        self,
        surrogate: Surrogate,
        pixels: Float[Tensor, "m 3 h w"],
        target: Float[Tensor, "1 3 h w"] | None,
        sources: Sequence[torch.Generator],
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3 h w"]]:
        """See `Protector.gradient`."""
        model, sign = surrogate.model, 1.0 if self.direction == "up" else -1.0

        def at_latents(
            latents: Float[Tensor, "m c hl wl"], sources: Sequence[torch.Generator]
        ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m c hl wl"]]:
            t, noise = surrogate.samples(latents, self.samples, sources)
            noised = model.noised(latents.repeat_interleave(self.samples, 0), noise.flatten(0, 1), t.flatten())
            predicted = noise_predictions(
                model, surrogate.text, noised.view_as(noise), t, surrogate.micro_batch, surrogate.precision
            )
            residual = predicted - noise
            return sign * residual.square().flatten(1).mean(1), sign * residual.mean(1)

        return surrogate.gradient(pixels, at_latents, sources, sampled=True)
