"""The error of a prediction by frequencies, each weighed by how much of it the clean latents have."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.shrink.calibration_states import CalibrationBatch

LEAST = 0.01
"""Share of the mean amplitude of a row below which an amplitude counts as this much: empty ones would weigh most."""


def spectral_error(
    schedule: NoiseSchedule, power: float, weight: float
) -> Callable[[CalibrationBatch, Tensor, Tensor], Float[Tensor, " n"]]:
    """A term of `heal.Healing`: `weight` times the mean over frequencies of w_f·|F(ε_S - ε_T)|², F orthonormal.

    w_f is |F x̂₀|^`power` of the clean latents x̂₀ that the full network predicts, over its mean, so that with power 0
    it is the mean squared error. The noise itself has a flat spectrum and would weigh nothing.
    """

    def error(batch: CalibrationBatch, found: Tensor, wanted: Tensor) -> Float[Tensor, " n"]:
        clean = batch.latents - schedule.noise(batch.t)[:, None, None, None] * wanted  # x̂₀ times its level
        weights = frequency_weights(clean, power)
        apart = torch.fft.fft2(found - wanted, norm="ortho")
        return weight * (weights * (apart.real.square() + apart.imag.square())).flatten(1).mean(1)

    return error


def frequency_weights(clean: Float[Tensor, "n c h w"], power: float) -> Float[Tensor, "n c h w"]:
    """|F x|^power by frequency of each row and channel, with a mean of 1 over a row, whatever its scale."""
    sizes = torch.fft.fft2(clean.detach().float(), norm="ortho").abs()
    mean = sizes.mean((1, 2, 3), keepdim=True).clamp(min=1e-12)
    weights = (sizes / mean).clamp(min=LEAST) ** power
    return weights / weights.mean((1, 2, 3), keepdim=True)
