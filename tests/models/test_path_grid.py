"""Noise levels on a straight path, against diffusers' scheduler and closed forms."""

import itertools
import math

import pytest
import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from intaglio.errors import BadInput
from intaglio.models.diffusion.families.flux2 import Flux2Klein
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.path_grid import PathGrid, flow_grid
from intaglio.sampling.grid import CLEAN, timestep_grid

FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler"}


@pytest.mark.parametrize("steps", [1, 4, 28])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_levels_of_a_fixed_shift_are_the_schedulers_own(steps, shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    found = flow_grid({**FLOW, "shift": shift}, "smallest", 64).levels(steps)
    assert torch.allclose(torch.tensor(found), scheduler.sigmas[:-1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("terminal", [None, 0.02])
def test_levels_of_a_shift_by_tokens_are_the_schedulers_own(terminal):
    settings = {"use_dynamic_shifting": True, "shift_terminal": terminal}
    scheduler = FlowMatchEulerDiscreteScheduler(**settings)
    mu = 0.5 + (1.15 - 0.5) * (1024 - 256) / (4096 - 256)
    scheduler.set_timesteps(sigmas=[1 - k / 7 for k in range(7)], mu=mu)
    found = flow_grid({**FLOW, **settings}, "even", 1024).levels(7)
    assert torch.allclose(torch.tensor(found), scheduler.sigmas[:-1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("tokens", "steps"), [(16, 4), (4096, 1), (4096, 50), (4096, 200), (5000, 20)])
def test_levels_of_a_shift_by_tokens_and_steps_are_those_of_flux_2(tokens, steps):
    mu = compute_empirical_mu(tokens, steps)
    grid = Flux2Klein().schedule({**FLOW, "use_dynamic_shifting": True}, tokens).grid
    places = [1 - k / steps for k in range(steps)]
    assert grid.levels(steps) == pytest.approx([math.exp(mu) * u / (1 + (math.exp(mu) - 1) * u) for u in places])
    assert Flux2Klein().schedule({**FLOW, "shift": 3.0}, tokens).grid.levels(2)[1] == pytest.approx(0.75)


def test_a_shift_moves_the_middle_by_its_formula():
    assert PathGrid(3.0).levels(2) == pytest.approx([1.0, 3 * 0.5 / (1 + 2 * 0.5)])
    assert PathGrid(3.0, "late").levels(1) == pytest.approx([3 * 0.999 / (1 + 2 * 0.999)])
    assert flow_grid({**FLOW, "use_dynamic_shifting": True}, "even", 256).shift == pytest.approx(math.exp(0.5))


@pytest.mark.parametrize("ends", ["even", "smallest"])
def test_a_walk_in_part_begins_and_ends_where_it_is_told(ends):
    grid = PathGrid(3.0, ends)
    found = grid.levels(5, 0.7, 0.2)
    assert found[0] == pytest.approx(0.7)
    assert all(one > two > 0.2 for one, two in itertools.pairwise(found))
    places = [level / (3 - 2 * level) for level in [*found, 0.2]]
    steps = [one - two for one, two in itertools.pairwise(places)]
    assert steps == pytest.approx([steps[0]] * 5)


def test_timesteps_are_the_levels_of_the_schedule():
    schedule = NoiseSchedule.straight_path(1000, PathGrid(3.0))
    grid = timestep_grid(schedule, 4)
    assert [level.noise for level in grid] == pytest.approx([*PathGrid(3.0).levels(4), 0.0])
    assert grid[0].t == 999
    assert grid[-1] == CLEAN
    assert timestep_grid(schedule, 3, first=499)[0].noise == pytest.approx(0.5)
    assert timestep_grid(schedule, 3, until=99)[-1].noise == pytest.approx(0.1)
    with pytest.raises(BadInput, match="1001 steps cannot be taken"):
        timestep_grid(schedule, 1001)


def test_settings_that_choose_other_levels_are_refused():
    for wrong in ({"use_beta_sigmas": True}, {"use_dynamic_shifting": True, "time_shift_type": "linear"}):
        with pytest.raises(BadInput, match="which is not supported"):
            flow_grid({**FLOW, **wrong}, "even", 64)
    with pytest.raises(BadInput, match="one base_image_seq_len and max_image_seq_len"):
        flow_grid({**FLOW, "use_dynamic_shifting": True, "base_image_seq_len": 4096}, "even", 64)


def test_levels_add_up_to_one_and_timesteps_may_lie_between():
    schedule = NoiseSchedule.straight_path()
    t = torch.tensor([0, 499, 998])
    assert torch.allclose(schedule.noise(t), torch.tensor([0.001, 0.5, 0.999]))
    assert torch.allclose(schedule.signal(t), 1 - schedule.noise(t))
    signal, noise = schedule.levels(torch.tensor([123.4, -1.0], dtype=torch.float64))
    assert torch.allclose(noise, torch.tensor([0.1244, 0.0], dtype=torch.float64))
    assert torch.allclose(signal, torch.tensor([0.8756, 1.0], dtype=torch.float64))
    betas = NoiseSchedule.from_config({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
    with pytest.raises(ValueError, match="whole numbers"):
        betas.levels(torch.tensor([1.5]))


def test_places_have_the_published_timesteps_signal_to_noise_ratio():
    """The table is that of arXiv 2112.10752's schedule, by hand."""
    path = NoiseSchedule.straight_path()
    classic = NoiseSchedule.from_config({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
    ts = [0, 100, 500, 999]
    assert [(t + 1) / 1000 for t in path.places(ts)] == pytest.approx([0.028, 0.256, 0.618, 0.936], abs=1.1e-3)
    for t, place in zip(ts, path.places(ts), strict=True):
        ratio = (classic.noises[t] / classic.signals[t]).item()
        assert path.noises[place] / path.signals[place] == pytest.approx(ratio, rel=0.02)
    assert classic.places(ts) == ts
