"""Mist: pictures whose latents are those of a pattern, and that a diffusion model denoises badly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.denoising.losses import loss_and_gradient
from intaglio.protect.family import SamplingProtector
from intaglio.protect.surrogate import Surrogate

RINGS = 8
"""Nested squares of the pattern, black and white by turns."""


@dataclass(frozen=True, kw_only=True)
class Mist(SamplingProtector):
    """Mist: lead the picture's latents to those of a pattern, and at once raise its denoising loss.

    Lowered is the mean squared distance of latents, less `weight` times the denoising loss; `textural` leaves the loss
    out. Latents are the encoder's means. The published code weighs a sum over 16,384 entries against a mean by 10,000,
    which is 0.61 for two means, whatever the picture's size. Published: a budget of 16, 100 steps of 1, a random start.

    Source: arXiv 2305.12683.
    """

    reading: ClassVar[str] = "makes a model see a pattern in the picture, which it learns with the rest"
    objective: ClassVar[str] = "closeness to the pattern"
    uses_target: ClassVar[bool] = True

    mode: Literal["fused", "textural"] = "fused"
    """Latents and denoising loss together, or latents alone, which never calls the denoiser."""
    weight: float = 0.61
    """Weight of the denoising loss in `fused`, from 0."""
    samples: int = 2
    """Timesteps and noises a step in `fused`, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"weight must be 0 or more, not {self.weight}")

    def gradient(
        self,
        surrogate: Surrogate,
        pixels: Float[Tensor, "m 3 h w"],
        target: Float[Tensor, "1 3 h w"] | None,
        sources: Sequence[torch.Generator],
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3 h w"]]:
        """See `Protector.gradient`."""
        aim = surrogate.latents(pattern(surrogate.model.resolution) if target is None else target)

        def at_latents(
            latents: Float[Tensor, "m c hl wl"], sources: Sequence[torch.Generator]
        ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m c hl wl"]]:
            away = latents - aim
            value, slope = -away.square().flatten(1).mean(1), -2 * away / away[0].numel()
            if self.mode == "textural":
                return value, slope
            loss, rise = self._denoising(surrogate, latents, sources)
            return value + self.weight * loss, slope + self.weight * rise

        return surrogate.gradient(pixels, at_latents, sources, sampled=False)

    def _denoising(
        self, surrogate: Surrogate, latents: Float[Tensor, "m c hl wl"], sources: Sequence[torch.Generator]
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m c hl wl"]]:
        """The mean denoising loss, and its gradient."""
        t, noise = surrogate.samples(latents, self.samples, sources)
        loss, rise = loss_and_gradient(
            surrogate.model, surrogate.text, latents, noise, t, surrogate.micro_batch, surrogate.precision
        )
        return loss, rise / latents[0].numel()  # the gradient is that of the summed squared errors


def pattern(side: int) -> Float[Tensor, "1 3 side side"]:
    """Nested squares, black and white by turns: as much contrast as a picture can have, at one scale."""
    place = torch.arange(side)
    depth = torch.minimum(place, side - 1 - place)
    ring = torch.minimum(depth[:, None], depth[None]) * 2 * RINGS // side
    return (ring % 2).float().expand(1, 3, side, side).clone()
