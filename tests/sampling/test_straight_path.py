"""Samplers and guides along a straight path, on mixtures whose velocity is known."""

import pytest
import torch
from diffusers.schedulers.scheduling_flow_match_heun_discrete import FlowMatchHeunDiscreteScheduler

from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.path_grid import PathGrid
from intaglio.sampling.grid import NoiseLevel, level_at, timestep_grid
from intaglio.sampling.samplers import SAMPLERS
from intaglio.sampling.step import ancestral_step, euler_maruyama

MEANS, DEVIATION = torch.tensor([-1.5, 1.0], dtype=torch.float64), 0.3
"""A mixture of two Gaussians of equal weight on a line."""
SCHEDULE = NoiseSchedule.straight_path(1000, PathGrid(3.0))


def clean(x: torch.Tensor, s: float) -> torch.Tensor:
    """Mean of the clean value given the noised one, by Bayes' rule over the two Gaussians."""
    a, variance = 1 - s, (1 - s) ** 2 * DEVIATION**2 + s**2
    apart = x[..., None] - a * MEANS
    weight = (-(apart**2) / (2 * variance)).softmax(-1)
    return (weight * (MEANS + a * DEVIATION**2 / variance * apart)).sum(-1)


def velocity(x: torch.Tensor, s: float) -> torch.Tensor:
    """(x - clean) / s, the derivative of x along the path."""
    return (x - clean(x, s)) / s


def noise_at(x: torch.Tensor, level: NoiseLevel) -> torch.Tensor:
    """The noise of the network that predicts this velocity, as the schedule has it."""
    return SCHEDULE.noise_of(velocity(x, level.noise), x, level.batch(len(x)))


def walked(sampler: str, steps: int, x: torch.Tensor) -> torch.Tensor:
    return SAMPLERS[sampler](noise_at, x, timestep_grid(SCHEDULE, steps), lambda: torch.zeros_like(x))


def start() -> torch.Tensor:
    return torch.linspace(-2, 2, 9, dtype=torch.float64)


def by_small_steps(x: torch.Tensor, steps: int = 4000) -> torch.Tensor:
    """The end of the path, by the classical method of Runge and Kutta."""
    for k in range(steps):
        s, h = 1 - k / steps, -1 / steps
        if k == steps - 1:
            return clean(x, s)
        one = velocity(x, s)
        two = velocity(x + h / 2 * one, s + h / 2)
        three = velocity(x + h / 2 * two, s + h / 2)
        x = x + h / 6 * (one + 2 * two + 2 * three + velocity(x + h * three, s + h))
    return x


def test_samplers_reach_the_end_of_the_path_with_ever_smaller_errors():
    truth = by_small_steps(start())
    errors = {name: [(walked(name, n, start()) - truth).abs().mean().item() for n in (10, 40)] for name in SAMPLERS}
    for name in ("ddim", "heun", "dpm++2m"):
        assert errors[name][1] < errors[name][0] / 2
    assert errors["heun"][1] < errors["ddim"][1] / 2
    assert errors["ddim"][1] < 0.06


def test_euler_is_a_step_of_the_velocity():
    x = start()
    for now, then in zip(PathGrid(3.0).levels(5), [*PathGrid(3.0).levels(5)[1:], 0.0], strict=True):
        x = x + (then - now) * velocity(x, now)
    assert torch.allclose(walked("ddim", 5, start()), x, rtol=0, atol=1e-7)


def test_heun_is_that_of_flow_matching():
    scheduler = FlowMatchHeunDiscreteScheduler()
    scheduler.set_timesteps(6)
    x = start()
    for place in range(len(scheduler.timesteps)):
        t = scheduler.timesteps[place]
        x = scheduler.step(velocity(x, float(t) / 1000), t, x).prev_sample
    levels = sorted({round(float(s), 9) for s in scheduler.sigmas}, reverse=True)
    grid = [level_at(SCHEDULE, 1000 * s - 1) for s in levels[:-1]]
    found = SAMPLERS["heun"](noise_at, start(), [*grid, level_at(SCHEDULE, -1)], lambda: start())
    assert torch.allclose(found, x.double(), rtol=0, atol=2e-4)


def test_the_first_step_without_signal_is_finite_in_every_form():
    first, second = timestep_grid(SCHEDULE, 4)[:2]
    x, fresh = start(), torch.ones(9, dtype=torch.float64)
    eps = noise_at(x, first)
    stepped = ancestral_step(x, eps, first, second, fresh)
    assert torch.allclose(stepped, second.signal * clean(x, 1.0) + second.noise * fresh, atol=1e-6)
    assert torch.equal(euler_maruyama(x, eps, first, second, fresh), stepped)


def test_a_network_in_single_precision_loses_nothing_at_the_noisy_end():
    level = timestep_grid(SCHEDULE, 4)[0]
    x = start().float()
    said = velocity(x.double(), 1.0).float()
    found = SCHEDULE.clean_of(said, x, level.batch(9))
    assert torch.allclose(found, clean(x.double(), 1.0), rtol=0, atol=1e-6)
    through = (x - level.noise * SCHEDULE.noise_of(said, x, level.batch(9))) / level.signal
    assert torch.allclose(through, found, rtol=0, atol=1e-6)


def test_levels_between_timesteps_belong_to_straight_paths_alone():
    assert level_at(SCHEDULE, 99.5).noise == pytest.approx(0.1005)
    assert level_at(SCHEDULE, -0.5).noise == pytest.approx(0.0005)
    with pytest.raises(ValueError, match="outside the schedule"):
        level_at(SCHEDULE, -1.5)
