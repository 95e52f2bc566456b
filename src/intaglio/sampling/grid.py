"""Noise levels at timesteps, and the grid of timesteps that a sampler visits."""

from dataclasses import dataclass

import torch
from jaxtyping import Real
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.noise_schedule import SMALLEST_FLOW_SIGNAL, NoiseSchedule

CLEAN_AT = -1
"""Timestep of the clean end."""


@dataclass(frozen=True)
class NoiseLevel:
    """Noised latents at one timestep are `signal * clean + noise * unit noise`."""

    t: int | float
    """timestep, from 0 to the schedule's last, a whole number unless the path is straight; -1 is clean"""
    signal: float
    """in (0, 1]"""
    noise: float
    """in [0, 1]"""

    @property
    def ratio(self) -> float:
        """Noise over signal: sigma in arXiv 2206.00364."""
        return self.noise / self.signal

    @property
    def has_signal(self) -> bool:
        """Whether there is more of the clean latents than what keeps them from being lost."""
        return self.signal > SMALLEST_FLOW_SIGNAL

    @property
    def straight(self) -> bool:
        """Whether signal and noise add up to 1, as on a straight path and at the clean end."""
        return abs(self.signal + self.noise - 1) < 1e-7

    def batch(self, rows: int, device: torch.device | str = "cpu") -> Real[Tensor, "rows"]:
        """The timestep of each of some rows, int64, or float64 where it lies between two."""
        return _timestep(self.t).expand(rows).to(device)


CLEAN = NoiseLevel(CLEAN_AT, 1.0, 0.0)


def timestep_of(t: Real[Tensor, "n"]) -> int | float:
    """The one timestep of a batch."""
    return t[0].item()


def _timestep(t: int | float) -> Real[Tensor, "1"]:
    return torch.tensor([t], dtype=torch.int64 if isinstance(t, int) else torch.float64)


def level_at(schedule: NoiseSchedule, t: int | float) -> NoiseLevel:
    """The noise level of timestep `t`; `CLEAN` for -1. Raises `ValueError` for a timestep outside the schedule."""
    if t == CLEAN_AT:
        return CLEAN
    if not 0 <= t < schedule.count and not (schedule.straight and -1 < t <= schedule.count - 1):
        raise ValueError(f"timestep {t} is outside the schedule; use 0 to {schedule.count - 1}, or -1 for clean")
    signals, noises = schedule.levels(_timestep(t))
    return NoiseLevel(t, signals.item(), noises.item())


def timestep_grid(
    schedule: NoiseSchedule, steps: int, first: int | None = None, until: int = CLEAN_AT
) -> list[NoiseLevel]:
    """`steps` timesteps from the first one on, then the clean end.

    On a discrete schedule they are spaced evenly ("trailing", arXiv 2305.08891): with 1000 timesteps and 10 steps 999,
    899, ..., 99, clean. On a straight path they are those of the model's own pipeline (`PathGrid`). `first` is the
    schedule's last timestep where it is None; `until` ends the grid at an earlier level than the clean one. Raises
    `BadInput` for a first timestep outside the schedule, and for fewer than 1 or more steps than there are timesteps.
    """
    last = schedule.count - 1
    if first is not None and not 0 <= first <= last:
        raise BadInput(f"a sampling cannot start at timestep {first}; use 0 to {last}")
    count = (last if first is None else first) - until
    if not 1 <= steps <= count:
        raise BadInput(f"{steps} steps cannot be taken; use 1 to {count}")
    if schedule.straight:
        ends = (level_at(schedule, last if first is None else first).noise, level_at(schedule, until).noise)
        ts = [level * schedule.count - 1 for level in schedule.grid.levels(steps, *ends)]
    else:
        ts = [until + round(count - index * count / steps) for index in range(steps)]
    return [*(level_at(schedule, t) for t in ts), level_at(schedule, until)]
