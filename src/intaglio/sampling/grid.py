"""Noise levels at timesteps, and the grid of timesteps that a sampler visits."""

from dataclasses import dataclass

from intaglio.errors import BadInput
from intaglio.models.diffusion.noise_schedule import NoiseSchedule


@dataclass(frozen=True)
class NoiseLevel:
    """Noised latents at one timestep are `signal * clean + noise * unit noise`."""

    t: int
    """timestep, from 0 to the schedule's last; -1 is clean"""
    signal: float
    """in (0, 1]"""
    noise: float
    """in [0, 1]"""

    @property
    def ratio(self) -> float:
        """Noise over signal: sigma in arXiv 2206.00364."""
        return self.noise / self.signal


CLEAN = NoiseLevel(-1, 1.0, 0.0)


def level_at(schedule: NoiseSchedule, t: int) -> NoiseLevel:
    """The noise level of timestep `t`; `CLEAN` for -1. Raises `ValueError` for a timestep outside the schedule."""
    if t == CLEAN.t:
        return CLEAN
    if not 0 <= t < schedule.count:
        raise ValueError(f"timestep {t} is outside the schedule; use 0 to {schedule.count - 1}, or -1 for clean")
    return NoiseLevel(t, schedule.signals[t].item(), schedule.noises[t].item())


def timestep_grid(
    schedule: NoiseSchedule, steps: int, first: int | None = None, until: int = CLEAN.t
) -> list[NoiseLevel]:
    """`steps` timesteps spaced evenly from the first one on ("trailing", arXiv 2305.08891), then the clean end.

    With 1000 timesteps and 10 steps: 999, 899, ..., 99, clean. `first` is the schedule's last timestep where it is
    None; `until` ends the grid at an earlier level than the clean one. Raises `BadInput` for a first timestep outside
    the schedule, and for fewer than 1 or more steps than there are timesteps.
    """
    last = schedule.count - 1
    if first is not None and not 0 <= first <= last:
        raise BadInput(f"a sampling cannot start at timestep {first}; use 0 to {last}")
    count = (last if first is None else first) - until
    if not 1 <= steps <= count:
        raise BadInput(f"{steps} steps cannot be taken; use 1 to {count}")
    ts = [until + round(count - index * count / steps) for index in range(steps)]
    return [*(level_at(schedule, t) for t in ts), level_at(schedule, until)]
