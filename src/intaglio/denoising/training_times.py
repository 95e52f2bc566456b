"""Timesteps of the pictures of a training step, as the models of each kind of schedule are trained."""

import torch
from jaxtyping import Real
from torch import Tensor

from intaglio.learning.step_randomness import timesteps_at
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.randomness import generator_32bit


def training_times(schedule: NoiseSchedule, count: int, step: int, seed: int) -> Real[Tensor, " n"]:
    """Timesteps of `count` pictures: uniform whole numbers on a discrete schedule.

    On a straight path the noise level is sigmoid(N(0, 1)), with the shift of the model's own sampling (arXiv
    2403.03206, equations 19 and 23), as float64: the middle of the path, where a velocity is hardest to tell, is seen
    most.
    """
    if not schedule.straight:
        return timesteps_at(count, schedule.count, step, seed)
    places = torch.randn(count, generator=generator_32bit(seed, "timesteps", step), dtype=torch.float64).sigmoid()
    shift = schedule.grid.shift
    return schedule.count * shift * places / (1 + (shift - 1) * places) - 1
