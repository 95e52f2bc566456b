"""The noise that a frozen denoiser and an encoding predict together, and the loss that teaches the encoding."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intaglio.explain.encodings.noise_slots import NoiseSlots
from intaglio.models.diffusion.noise_schedule import NoiseSchedule

GAMMA = 0.1
"""Power of the signal-to-noise ratio in a timestep's weight."""
Latents = Float[Tensor, "n *shape"]
Predict = Callable[[Tensor, Tensor], Tensor]
"""The noise that the frozen denoiser sees in noised latents at timesteps."""


def shift_factors(schedule: NoiseSchedule) -> Float[Tensor, "t"]:
    """Factor of the gradient in the noise: -sqrt(alpha_t) (1 - alphabar_(t-1)) / sqrt(1 - alphabar_t)."""
    now = schedule.alphas_cumprod
    before = torch.cat([now.new_ones(1), now[:-1]])
    return -(now / before).sqrt() * (1 - before) / schedule.noises


def level_weights(schedule: NoiseSchedule) -> Float[Tensor, "t"]:
    """Weight of each timestep in the loss, SNR^0.1 / (1 + SNR) with SNR = alphabar / (1 - alphabar)."""
    ratio = schedule.alphas_cumprod / schedule.noises.square()
    return ratio**GAMMA / (1 + ratio)


@dataclass(frozen=True, eq=False)
class CodedDenoiser:
    """A frozen denoiser whose noise is shifted by what a network makes of an encoding's numbers."""

    predict: Predict
    gradient: nn.Module
    """G(noised latents, timesteps, numbers)."""
    schedule: NoiseSchedule
    slots: NoiseSlots

    def noise(
        self, noised: Latents, t: Int[Tensor, "n"], codes: Float[Tensor, "n z"], detach: bool = False
    ) -> tuple[Latents, Latents]:
        """The frozen denoiser's noise, and the same plus s_t G(x_t, t, z * given_t); gradients pass through G alone.

        With `detach`, numbers of earlier slots are given without their gradients.
        """
        with torch.no_grad():
            base = self.predict(noised, t)
        return base, base + self.shift(noised, t, codes, detach)

    def shift(self, noised: Latents, t: Int[Tensor, "n"], codes: Float[Tensor, "n z"], detach: bool = False) -> Latents:
        """The shift: a term that is added to the frozen denoiser's noise."""
        given = self.slots.given(t) * codes
        if detach:
            own = self.slots.own(t)
            given = own * given + (1 - own) * given.detach()
        return _rows(shift_factors(self.schedule), t, noised) * self.gradient(noised, t, given)

    def errors(
        self, latents: Latents, noise: Latents, t: Int[Tensor, "n"], codes: Float[Tensor, "n z"], detach: bool = False
    ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
        """Weighted mean squared errors of the frozen noise and of the shifted one, for clean latents noised here."""
        both = self.noise(self.schedule.noised(latents, noise, t), t, codes, detach)
        weights = level_weights(self.schedule)[t.cpu()].float().to(t.device)
        base, coded = (weights * (one - noise).square().flatten(1).mean(1) for one in both)
        return base, coded


def _rows(values: Float[Tensor, "t"], t: Tensor, like: Tensor) -> Tensor:
    return values[t.cpu()].to(like).view(-1, *[1] * (like.ndim - 1))
