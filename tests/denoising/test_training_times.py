import torch

from intaglio.denoising.training_times import training_times
from intaglio.learning.step_randomness import timesteps_at
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.path_grid import PathGrid


def test_levels_on_a_straight_path_are_a_shifted_logit_normal():
    """Quantiles by the inverse of the shift and the logit: those of a standard normal."""
    schedule = NoiseSchedule.straight_path(1000, PathGrid(3.0))
    s = (training_times(schedule, 20_000, 3, 0) + 1) / 1000
    places = s / (3 - 2 * s)
    normal = places.logit()
    wanted = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]))
    assert torch.allclose(normal.float().quantile(torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])), wanted, atol=0.04)
    assert (s > 0).all()
    assert (s < 1).all()


def test_timesteps_are_a_function_of_seed_and_step():
    path = NoiseSchedule.straight_path()
    assert torch.equal(training_times(path, 4, 7, 1), training_times(path, 4, 7, 1))
    assert not torch.equal(training_times(path, 4, 7, 1), training_times(path, 4, 8, 1))
    classic = NoiseSchedule.from_config({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
    assert torch.equal(training_times(classic, 4, 7, 1), timesteps_at(4, 1000, 7, 1))
