import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.sampling.grid import CLEAN, level_at
from intaglio.sampling.step import clean_estimate, ddim_step

SCHEDULE = NoiseSchedule.from_config({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
TIMESTEPS = st.integers(0, SCHEDULE.count - 1)


def latents(seed, dtype=torch.float64):
    return torch.randn(2, 4, 3, 3, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@given(t=TIMESTEPS, s=TIMESTEPS)
def test_a_step_is_equation_12_of_the_paper_without_fresh_noise(t, s):
    x, eps = latents(0), latents(1)
    a_t, a_s = SCHEDULE.alphas_cumprod[t], SCHEDULE.alphas_cumprod[s]
    expected = a_s.sqrt() * (x - (1 - a_t).sqrt() * eps) / a_t.sqrt() + (1 - a_s).sqrt() * eps
    found = ddim_step(x, eps, level_at(SCHEDULE, t), level_at(SCHEDULE, s))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@given(t=TIMESTEPS, s=TIMESTEPS)
def test_a_step_and_the_step_back_with_the_same_noise_cancel(t, s):
    x, eps, now, then = latents(2), latents(3), level_at(SCHEDULE, t), level_at(SCHEDULE, s)
    torch.testing.assert_close(ddim_step(ddim_step(x, eps, now, then), eps, then, now), x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("t", "s"), [(900, 100), (100, 900), (0, 999), (500, 500)])
def test_with_the_true_noise_a_step_goes_along_the_forward_process(t, s):
    clean, eps = latents(4, torch.float32), latents(5, torch.float32)
    noised = {at: SCHEDULE.noised(clean, eps, torch.tensor([at, at])) for at in (t, s)}
    found = ddim_step(noised[t], eps, level_at(SCHEDULE, t), level_at(SCHEDULE, s))
    torch.testing.assert_close(found, noised[s], rtol=1e-3, atol=1e-4)
    assert found.dtype == torch.float32


def test_the_step_to_clean_is_the_clean_estimate():
    clean, eps, level = latents(6), latents(7), level_at(SCHEDULE, 700)
    noised = level.signal * clean + level.noise * eps
    torch.testing.assert_close(ddim_step(noised, eps, level, CLEAN), clean, rtol=1e-9, atol=1e-9)
    assert torch.equal(ddim_step(noised, eps, level, CLEAN), clean_estimate(noised, eps, level))


def test_levels_of_timesteps():
    level = level_at(SCHEDULE, 999)
    assert (level.signal, level.noise) == (SCHEDULE.signals[999].item(), SCHEDULE.noises[999].item())
    assert level.ratio == level.noise / level.signal
    assert level_at(SCHEDULE, -1) is CLEAN
    for outside in (-2, 1000):
        with pytest.raises(ValueError, match=f"timestep {outside} is outside the schedule; use 0 to 999"):
            level_at(SCHEDULE, outside)
