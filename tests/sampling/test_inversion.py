"""Inversion: the closed form for Gaussian data, the timesteps that are asked, and the way back on a fine grid."""

import math
from itertools import pairwise

import torch

from audit_scenes import model
from exact_draws import ExactMixture, drawn
from intaglio.models.diffusion.latent_diffusion import unit_noise
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.sampling.fixed_sampling import sampling_grid
from intaglio.sampling.grid import timestep_grid
from intaglio.sampling.inversion import inverted

SD = NoiseSchedule.from_config({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012})
V = 0.7


def gaussian(asked):
    """A model of latents N(0, V), whose best prediction is n x / (s^2 V + n^2); it notes what it is asked."""

    def predict(x, t, text):
        asked.append(int(t[0]))
        s, n = (float(part[int(t[0])]) for part in (SD.signals, SD.noises))
        return n * x / (s**2 * V + n**2)

    one = model()
    one.schedule, one.predict = SD, predict
    return one


def test_of_gaussian_data_every_step_is_a_factor_asked_at_the_noisier_level():
    """x goes from (s, n) to (s', n') by s'/s (x - n e) + n' e, with e = n' x / (s'^2 V + n'^2) taken at the noisier."""
    asked, latents = [], torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    net, grid = gaussian(asked), timestep_grid(SD, 10)
    found = inverted(net, latents, net.embed([""]).detach(), grid, micro_batch=2)
    factors = []
    for noisier, cleaner in pairwise(grid):
        e = noisier.noise / (noisier.signal**2 * V + noisier.noise**2)
        factors.append(noisier.signal / cleaner.signal * (1 - cleaner.noise * e) + noisier.noise * e)
    torch.testing.assert_close(found, (math.prod(factors) * latents.double()).float(), rtol=1e-5, atol=1e-6)
    assert asked[::2] == asked[1::2] == [level.t for level in reversed(grid[:-1])]


def test_a_sampling_of_small_steps_leads_back_to_its_noise_and_one_of_few_does_not():
    means = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1).expand(2, 2, 4, 4)
    net = ExactMixture(means, torch.tensor([0.3, 0.1]), {"": [0.0, 0.0]})
    noise = unit_noise((2, 4, 4), [torch.Generator().manual_seed(seed) for seed in range(6)])
    away = {}
    for steps in (10, 250):
        latents = drawn(net, count=6, steps=steps).float()
        found = inverted(net, latents, net.embed([""]), sampling_grid(net, steps))
        away[steps] = float((found - noise).square().mean().sqrt())
    assert away[250] < 0.05 < away[10]
