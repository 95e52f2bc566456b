"""Noise schedules: signal and noise level at each timestep, and the conversion between prediction types."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput

Prediction = Literal["epsilon", "v_prediction", "sample"]

SMALLEST_ALPHA_CUMPROD = 2.0**-24
"""Smallest alphas_cumprod: at zero, clean latents could not be computed from the noise."""


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """A discrete noise schedule: noised latents are `signal(t) * latents + noise(t) * noise`, t in [0, count).

    Only these two tables are assumed, so a straight path (signal 1 - s, noise s) is a schedule as well.
    """

    signals: Float[Tensor, "t"]
    """Signal level of each timestep, float64, in (0, 1], falling."""
    noises: Float[Tensor, "t"]
    """Noise level of each timestep, float64, in (0, 1], rising."""
    prediction: Prediction = "epsilon"
    """The network's output: the noise, the velocity `signal(t) * noise - noise(t) * latents`, or the latents."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "NoiseSchedule":
        """The schedule of a diffusers `scheduler_config.json`; missing entries take diffusers' defaults.

        Raises `BadInput` for a schedule or a prediction type that is not supported.
        """
        prediction = config.get("prediction_type", "epsilon")
        if prediction not in get_args(Prediction):
            raise BadInput(
                f"the scheduler's prediction_type {prediction!r} is not supported; "
                f"use a model that predicts one of {', '.join(get_args(Prediction))}"
            )
        alphas_cumprod = torch.cumprod(1 - _betas(config), 0)
        if config.get("rescale_betas_zero_snr"):
            alphas_cumprod = _without_signal_at_the_end(alphas_cumprod)
        alphas_cumprod = alphas_cumprod.clamp(min=SMALLEST_ALPHA_CUMPROD)
        return cls(alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt(), prediction)

    @property
    def count(self) -> int:
        """Number of timesteps, usually 1000."""
        return len(self.signals)

    @property
    def alphas_cumprod(self) -> Float[Tensor, "t"]:
        """Squared signal levels, float64."""
        return self.signals**2

    def signal(self, t: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Signal levels at `t`: the factors of clean latents; float32 on the device of `t`."""
        return self.signals[t.cpu()].float().to(t.device)

    def noise(self, t: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Noise levels at `t`: the factors of unit noise; float32 on the device of `t`."""
        return self.noises[t.cpu()].float().to(t.device)

    def noised(
        self, latents: Float[Tensor, "n *shape"], noise: Float[Tensor, "n *shape"], t: Int[Tensor, "n"]
    ) -> Float[Tensor, "n *shape"]:
        """Noised latents: the forward process at timesteps `t`."""
        a, s = self._levels(latents, t)
        return a * latents + s * noise

    def target(
        self, latents: Float[Tensor, "n *shape"], noise: Float[Tensor, "n *shape"], t: Int[Tensor, "n"]
    ) -> Float[Tensor, "n *shape"]:
        """The training target for the input `noised(latents, noise, t)`, by prediction type."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return latents
        a, s = self._levels(latents, t)
        return a * noise - s * latents

    def noise_of(
        self, output: Float[Tensor, "n *shape"], noised: Float[Tensor, "n *shape"], t: Int[Tensor, "n"]
    ) -> Float[Tensor, "n *shape"]:
        """The predicted noise in `noised`, computed from a network's output: the inverse of `target`."""
        if self.prediction == "epsilon":
            return output
        a, s = self._levels(noised, t)
        if self.prediction == "sample":
            return (noised - a * output) / s
        return (a * output + s * noised) / (a**2 + s**2)

    def same_as(self, other: "NoiseSchedule") -> bool:
        """Whether both tables agree to 1e-6; the prediction is not compared."""
        return self.count == other.count and all(
            torch.allclose(mine, theirs, rtol=0, atol=1e-6)
            for mine, theirs in ((self.signals, other.signals), (self.noises, other.noises))
        )

    def _levels(self, like: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1,) + (1,) * (like.ndim - 1)
        return self.signal(t).view(shape), self.noise(t).view(shape)


def _betas(config: Mapping[str, Any]) -> Float[Tensor, "t"]:
    if (trained := config.get("trained_betas")) is not None:
        return torch.tensor(trained, dtype=torch.float64)
    count, kind = int(config.get("num_train_timesteps", 1000)), config.get("beta_schedule", "linear")
    start, end = float(config.get("beta_start", 0.0001)), float(config.get("beta_end", 0.02))
    if kind == "linear":
        return torch.linspace(start, end, count, dtype=torch.float64)
    if kind == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, count, dtype=torch.float64) ** 2
    if kind == "squaredcos_cap_v2":
        return _cosine_betas(count)
    raise BadInput(
        f"the scheduler's beta_schedule {kind!r} is not supported; use linear, scaled_linear or squaredcos_cap_v2"
    )


def _cosine_betas(count: int) -> Float[Tensor, "t"]:
    """ArXiv 2102.09672, eq. 17: alphas_cumprod is a squared cosine; no beta above 0.999."""
    time = torch.arange(count + 1, dtype=torch.float64) / count
    curve = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - curve[1:] / curve[:-1]).clamp(max=0.999)


def _without_signal_at_the_end(alphas_cumprod: Float[Tensor, "t"]) -> Float[Tensor, "t"]:
    """ArXiv 2305.08891, algorithm 1: the signal is shifted to end at 0 and scaled to begin where it did."""
    signals = alphas_cumprod.sqrt()
    first, last = signals[0], signals[-1]
    return ((signals - last) * first / (first - last)) ** 2
