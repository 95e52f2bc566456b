"""Noise schedules: signal and noise level at each timestep, and the conversion between prediction types."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.diffusion.path_grid import EVEN, PathGrid

Prediction = Literal["epsilon", "v_prediction", "sample", "flow_prediction"]
Timesteps = Real[Tensor, " n"]
"""Timesteps, whole numbers; on a straight path any numbers, those between two timesteps included."""

SCHEDULER_REMEDY = "give the scheduler_config.json that the model was trained with"
"""The end of every error about a scheduler's settings."""
MOST_TIMESTEPS = 100_000
"""Most training timesteps that are taken."""
DISCRETE_CLASSES = frozenset(
    {
        "DDIMInverseScheduler",
        "DDIMParallelScheduler",
        "DDIMScheduler",
        "DDPMParallelScheduler",
        "DDPMScheduler",
        "DEISMultistepScheduler",
        "DPMSolverMultistepInverseScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSDEScheduler",
        "DPMSolverSinglestepScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "LCMScheduler",
        "LMSDiscreteScheduler",
        "PNDMScheduler",
        "SASolverScheduler",
        "TCDScheduler",
        "UniPCMultistepScheduler",
    }
)
"""Schedulers of diffusers that sample from discrete variance-preserving models: those whose betas are the schedule."""
_DISCRETE = "give a model that was trained on discrete timesteps, whose scheduler is one such as DDIMScheduler"
_OTHER_CLASSES = (
    ("EDM", "EDM, whose noise levels are continuous and whose network is preconditioned"),
    ("Flow", "a flow matching of another kind"),
    ("Cosine", "a continuous cosine schedule"),
    ("Sde", "a continuous schedule"),
    ("Karras", "a continuous schedule"),
)
_WIDE = (0.00085, 0.012)
_CLASS_BETAS = {
    "HeunDiscreteScheduler": (*_WIDE, "linear"),
    "KDPM2AncestralDiscreteScheduler": (*_WIDE, "linear"),
    "KDPM2DiscreteScheduler": (*_WIDE, "linear"),
    "DPMSolverSDEScheduler": (*_WIDE, "linear"),
    "LCMScheduler": (*_WIDE, "scaled_linear"),
    "TCDScheduler": (*_WIDE, "scaled_linear"),
}
"""Betas that a class takes where its settings say none; the others take DDPM's, 0.0001 to 0.02, linear."""
SMALLEST_ALPHA_CUMPROD = 2.0**-24
"""Smallest alphas_cumprod: at zero, clean latents could not be computed from the noise."""
SMALLEST_FLOW_SIGNAL = 2.0**-24
"""Signal at the noisy end of a straight path, for the same reason; its predictions are float64, which lose nothing."""
FLOW_CLASSES = frozenset({"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"})
"""Schedulers of diffusers that sample along a straight path."""


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """A discrete noise schedule: noised latents are `signal(t) * latents + noise(t) * noise`, t in [0, count).

    On a straight path (arXiv 2209.03003) the noise level of timestep t is s = (t + 1) / count and the signal level
    1 - s, so that t may be any number there, and t = -1 is clean.
    """

    signals: Float[Tensor, "t"]
    """Signal level of each timestep, float64, in (0, 1], falling."""
    noises: Float[Tensor, "t"]
    """Noise level of each timestep, float64, in (0, 1], rising."""
    prediction: Prediction = "epsilon"
    """The network's output: the noise, the velocity `signal(t) * noise - noise(t) * latents`, the latents, or on a
    straight path the velocity `noise - latents` (`flow_prediction`)."""
    grid: PathGrid = EVEN
    """Where samplers ask on a straight path; without effect on a discrete schedule, whose grids are even."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], source: str = "the scheduler") -> "NoiseSchedule":
        """The schedule of a diffusers `scheduler_config.json`, which errors call `source`.

        Missing entries take the defaults of the class that is named there. Raises `BadInput` for a class, a schedule or
        a prediction type that is not supported, and for values out of their range.
        """
        fields = Fields(config, source, SCHEDULER_REMEDY)
        kind, says = fields.text("_class_name", None), fields.text("prediction_type", None)
        of_flow = kind in DISCRETE_CLASSES and says == "flow_prediction" and fields.flag("use_flow_sigmas", False)
        if kind in FLOW_CLASSES or of_flow:
            return cls.straight_path(fields.whole("num_train_timesteps", 1000, 2, MOST_TIMESTEPS))
        _refuse_other_kinds(fields)
        prediction = fields.text("prediction_type", "epsilon")
        if prediction not in (known := [kind for kind in get_args(Prediction) if kind != "flow_prediction"]):
            raise BadInput(
                f"the prediction_type {prediction!r} of {source} is not supported; "
                f"use a model that predicts one of {', '.join(known)}"
            )
        alphas_cumprod = torch.cumprod(1 - _betas(fields), 0)
        if fields.flag("rescale_betas_zero_snr", False):
            alphas_cumprod = _without_signal_at_the_end(alphas_cumprod)
        alphas_cumprod = alphas_cumprod.clamp(min=SMALLEST_ALPHA_CUMPROD)
        return cls(alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt(), prediction)

    @classmethod
    def straight_path(cls, count: int = 1000, grid: PathGrid = EVEN) -> "NoiseSchedule":
        """The schedule of flow matching with `count` timesteps: s = 1/count, 2/count, ..., 1."""
        noises = torch.arange(1, count + 1, dtype=torch.float64) / count
        return cls((1 - noises).clamp(min=SMALLEST_FLOW_SIGNAL), noises, "flow_prediction", grid)

    @property
    def straight(self) -> bool:
        """Whether signal and noise level add up to 1, and timesteps may be any numbers."""
        return self.prediction == "flow_prediction"

    @property
    def count(self) -> int:
        """Number of timesteps, usually 1000."""
        return len(self.signals)

    @property
    def alphas_cumprod(self) -> Float[Tensor, "t"]:
        """Squared signal levels, float64."""
        return self.signals**2

    def signal(self, t: Timesteps) -> Float[Tensor, "n"]:
        """Signal levels at `t`: the factors of clean latents; float32 on the device of `t`."""
        return self.levels(t)[0].float().to(t.device)

    def noise(self, t: Timesteps) -> Float[Tensor, "n"]:
        """Noise levels at `t`: the factors of unit noise; float32 on the device of `t`."""
        return self.levels(t)[1].float().to(t.device)

    def levels(self, t: Timesteps) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
        """Signal and noise levels at `t`, float64 on the CPU.

        Raises `ValueError` for timesteps that are no whole numbers, unless the path is straight.
        """
        places = t.detach().cpu()
        if not places.is_floating_point():
            return self.signals[places], self.noises[places]
        if not self.straight:
            raise ValueError("timesteps of a discrete noise schedule are whole numbers")
        noises = (places.double() + 1) / self.count
        return (1 - noises).clamp(min=SMALLEST_FLOW_SIGNAL), noises

    def places(self, ts: Sequence[int]) -> list[int]:
        """Timesteps of this schedule with the signal-to-noise ratios that Stable Diffusion 1 has at `ts`, 0 to 999.

        Papers name timesteps of that schedule; on another discrete schedule they are taken as they are.
        """
        if not self.straight:
            return list(ts)
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        squares = torch.cumprod(1 - betas, 0)[list(ts)]
        ratios = ((1 - squares) / squares).sqrt()
        found = (ratios / (1 + ratios) * self.count - 1).round().long()
        return found.clamp(0, self.count - 1).tolist()

    def noised(
        self, latents: Float[Tensor, "n *shape"], noise: Float[Tensor, "n *shape"], t: Timesteps
    ) -> Float[Tensor, "n *shape"]:
        """Noised latents: the forward process at timesteps `t`."""
        a, s = self._levels(latents, t)
        return a * latents + s * noise

    def target(
        self, latents: Float[Tensor, "n *shape"], noise: Float[Tensor, "n *shape"], t: Timesteps
    ) -> Float[Tensor, "n *shape"]:
        """The training target for the input `noised(latents, noise, t)`, by prediction type."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return latents
        if self.straight:
            return noise - latents
        a, s = self._levels(latents, t)
        return a * noise - s * latents

    def noise_of(
        self, output: Float[Tensor, "n *shape"], noised: Float[Tensor, "n *shape"], t: Timesteps
    ) -> Float[Tensor, "n *shape"]:
        """The predicted noise in `noised`, computed from a network's output: the inverse of `target`.

        Float32; on a straight path float64: where the path begins there is no signal, and in less precision the clean
        latents would be lost in the noise.
        """
        if self.straight:
            a, s = self._exact_levels(noised, t)
            return (noised.double() + a * output.double()) / (a + s)
        noised = noised.float()
        if self.prediction == "epsilon":
            return output
        a, s = self._levels(noised, t)
        if self.prediction == "sample":
            return (noised - a * output) / s
        return (a * output + s * noised) / (a**2 + s**2)

    def clean_of(
        self, output: Float[Tensor, "n *shape"], noised: Float[Tensor, "n *shape"], t: Timesteps
    ) -> Float[Tensor, "n *shape"]:
        """The predicted clean latents in `noised`, computed from a network's output; of the precision of `noise_of`."""
        if self.straight:
            a, s = self._exact_levels(noised, t)
            return (noised.double() - s * output.double()) / (a + s)
        if self.prediction == "sample":
            return output
        a, s = self._levels(noised, t)
        return (noised - s * self.noise_of(output, noised, t)) / a

    def same_as(self, other: "NoiseSchedule") -> bool:
        """Whether both tables agree to 1e-6; the prediction is not compared."""
        return self.count == other.count and all(
            torch.allclose(mine, theirs, rtol=0, atol=1e-6)
            for mine, theirs in ((self.signals, other.signals), (self.noises, other.noises))
        )

    def _levels(self, like: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1,) + (1,) * (like.ndim - 1)
        return self.signal(t).view(shape), self.noise(t).view(shape)

    def _exact_levels(self, like: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        a, s = (level.to(like.device).view((-1,) + (1,) * (like.ndim - 1)) for level in self.levels(t))
        return a, s


def _refuse_other_kinds(fields: Fields) -> None:
    kind = fields.text("_class_name", None)
    if kind is not None and kind not in DISCRETE_CLASSES:
        why = next((why for mark, why in _OTHER_CLASSES if mark in kind), "its noise levels are not known here")
        raise BadInput(f"{fields.source} names the scheduler {kind}, which is not supported ({why}); {_DISCRETE}")
    if fields.values.get("use_flow_sigmas"):
        raise BadInput(f"{fields.source} says use_flow_sigmas, which is flow matching, not supported; {_DISCRETE}")
    if fields.values.get("timestep_type") == "continuous":
        raise BadInput(f"{fields.source} says timestep_type 'continuous', which is not supported; {_DISCRETE}")


def _betas(fields: Fields) -> Float[Tensor, "t"]:
    if (trained := fields.numbers("trained_betas", None)) is not None:
        return _checked(torch.tensor(trained, dtype=torch.float64), "trained_betas", fields)
    first, last, usual = _CLASS_BETAS.get(fields.text("_class_name", ""), (0.0001, 0.02, "linear"))
    count, kind = fields.whole("num_train_timesteps", 1000, 2, MOST_TIMESTEPS), fields.text("beta_schedule", usual)
    start, end = (fields.number(name, beta, 0.0, 1.0) for name, beta in (("beta_start", first), ("beta_end", last)))
    if kind == "linear":
        return _checked(torch.linspace(start, end, count, dtype=torch.float64), "beta_start to beta_end", fields)
    if kind == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, count, dtype=torch.float64) ** 2
        return _checked(betas, "beta_start to beta_end", fields)
    if kind == "squaredcos_cap_v2":
        return _cosine_betas(count)
    raise BadInput(
        f"the beta_schedule {kind!r} of {fields.source} is not supported; use linear, scaled_linear or "
        "squaredcos_cap_v2"
    )


def _checked(betas: Float[Tensor, "t"], name: str, fields: Fields) -> Float[Tensor, "t"]:
    """The betas themselves. Raises `BadInput` where they are too many or too few, or make no schedule."""
    if not 2 <= len(betas) <= MOST_TIMESTEPS:
        raise BadInput(f"{fields.source} has {len(betas)} {name}, where 2 to {MOST_TIMESTEPS} are due; {fields.remedy}")
    if not ((betas >= 0) & (betas <= 1)).all() or betas[0] in (0, 1) or not betas.any():
        raise BadInput(f"{fields.source} has {name} outside of 0 to 1, or a first one at 0 or 1; {fields.remedy}")
    return betas


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
