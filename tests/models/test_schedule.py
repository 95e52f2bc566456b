import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.errors import BadInput
from intaglio.models.diffusion.noise_schedule import SMALLEST_ALPHA_CUMPROD, NoiseSchedule

PREDICTIONS = ["epsilon", "v_prediction", "sample"]
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CONFIGS = [
    {},
    SD,
    {"beta_schedule": "squaredcos_cap_v2"},
    {**SD, "num_train_timesteps": 200},
    {"trained_betas": [0.1, 0.2, 0.3]},
]


@pytest.mark.parametrize("config", CONFIGS)
def test_tables_agree_with_diffusers_and_are_finer(config):
    known = DDPMScheduler(**config).alphas_cumprod
    schedule = NoiseSchedule.from_config(config)
    assert schedule.signals.dtype == schedule.noises.dtype == schedule.alphas_cumprod.dtype == torch.float64
    assert schedule.count == len(known)
    assert torch.allclose(schedule.alphas_cumprod.clamp(min=1e-5), known.double().clamp(min=1e-5), rtol=2e-3, atol=0)


def test_stable_diffusions_schedule_by_hand():
    betas = [(math.sqrt(0.00085) + i / 999 * (math.sqrt(0.012) - math.sqrt(0.00085))) ** 2 for i in range(1000)]
    kept = np.cumprod([1 - beta for beta in betas])
    schedule = NoiseSchedule.from_config(SD)
    assert np.allclose(schedule.signals.numpy(), np.sqrt(kept), rtol=1e-12)
    assert np.allclose(schedule.noises.numpy(), np.sqrt(1 - kept), rtol=1e-12)
    # The trap of half precision: at t = 1 the noise is 0.0413, not 0.0383.
    assert schedule.noise(torch.tensor([1])).item() == pytest.approx(0.0413, abs=1e-4)


def test_cosine_schedule_by_hand():
    def curve(i):
        return math.cos((i / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    kept, expected = 1.0, []
    for i in range(1000):
        kept *= 1 - min(1 - curve(i + 1) / curve(i), 0.999)
        expected.append(max(kept, SMALLEST_ALPHA_CUMPROD))
    assert np.allclose(NoiseSchedule.from_config({"beta_schedule": "squaredcos_cap_v2"}).alphas_cumprod, expected)


def test_zero_terminal_signal_begins_where_it_did_and_ends_at_the_floor():
    plain, rescaled = NoiseSchedule.from_config(SD), NoiseSchedule.from_config({**SD, "rescale_betas_zero_snr": True})
    assert rescaled.signals[0].item() == pytest.approx(plain.signals[0].item())
    assert rescaled.alphas_cumprod[-1].item() == pytest.approx(SMALLEST_ALPHA_CUMPROD)
    slope = (plain.signals[:-1] - plain.signals[-1]) / (rescaled.signals[:-1])
    assert torch.allclose(slope, slope[0])
    reference = DDPMScheduler(**SD, rescale_betas_zero_snr=True).alphas_cumprod
    assert torch.allclose(rescaled.alphas_cumprod.float(), reference, atol=1e-5)


def test_levels_are_float32_rows_of_the_tables():
    schedule = NoiseSchedule.from_config(SD)
    t = torch.tensor([0, 999, 500])
    assert torch.equal(schedule.signal(t), schedule.signals[[0, 999, 500]].float())
    assert torch.equal(schedule.noise(t), schedule.noises[[0, 999, 500]].float())
    assert schedule.signal(torch.tensor([], dtype=torch.long)).shape == (0,)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("shape", [(4, 3, 5), (7,), (2, 2)])
@settings(deadline=None, max_examples=10)
@given(times=st.lists(st.integers(0, 999), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_the_noise_is_found_again_from_a_perfect_output(prediction, shape, times, seed):
    schedule = NoiseSchedule.from_config({**SD, "prediction_type": prediction})
    t = torch.tensor(times)
    clean, noise = torch.randn(2, len(times), *shape, generator=torch.Generator().manual_seed(seed))
    noised = schedule.noised(clean, noise, t)
    found = schedule.noise_of(schedule.target(clean, noise, t), noised, t)
    # Near t = 0 the noise is small beside the clean part, which costs digits where the latents are predicted.
    assert torch.allclose(found, noise, atol=1e-4)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_targets_by_hand(prediction):
    schedule = NoiseSchedule(torch.tensor([0.8]).double(), torch.tensor([0.6]).double(), prediction)
    clean, noise, t = torch.tensor([[10.0]]), torch.tensor([[1.0]]), torch.tensor([0])
    assert schedule.noised(clean, noise, t).item() == pytest.approx(8.6)
    expected = {"epsilon": 1.0, "sample": 10.0, "v_prediction": 0.8 - 6.0}[prediction]
    assert schedule.target(clean, noise, t).item() == pytest.approx(expected)


def test_a_straight_path_is_a_schedule_as_well():
    s = torch.linspace(0.001, 0.999, 50, dtype=torch.float64)
    schedule = NoiseSchedule(1 - s, s, "v_prediction")
    clean, noise = torch.randn(2, 3, 4)
    t = torch.tensor([0, 25, 49])
    noised = schedule.noised(clean, noise, t)
    assert torch.allclose(schedule.noise_of(schedule.target(clean, noise, t), noised, t), noise, atol=1e-4)


def test_same_as():
    one = NoiseSchedule.from_config(SD)
    assert one.same_as(NoiseSchedule.from_config({**SD, "prediction_type": "sample"}))
    assert not one.same_as(NoiseSchedule.from_config({**SD, "beta_end": 0.0121}))
    assert not one.same_as(NoiseSchedule.from_config({**SD, "num_train_timesteps": 999}))


@pytest.mark.parametrize(
    ("config", "word"), [({"beta_schedule": "sigmoid"}, "sigmoid"), ({"prediction_type": "flow"}, "flow")]
)
def test_unknown_kinds_are_named(config, word):
    with pytest.raises(BadInput, match=word):
        NoiseSchedule.from_config(config)


@pytest.mark.parametrize("t", [0, 1, 499, 998, 999])
def test_a_straight_path_is_taken_apart_in_double_precision(t):
    """To 1e-9 of the closed form of the float32 numbers that are given, at the noisy end too."""
    noised, output = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(t))
    s = (t + 1) / 1000
    a = max(1 - s, 2.0**-24)
    x, v = noised.numpy().astype(np.float64), output.numpy().astype(np.float64)
    schedule, when = NoiseSchedule.straight_path(1000), torch.tensor([t])
    clean, noise = schedule.clean_of(output, noised, when), schedule.noise_of(output, noised, when)
    assert np.abs(clean.numpy() - (x - s * v) / (a + s)).max() < 1e-9
    assert np.abs(noise.numpy() - (x + a * v) / (a + s)).max() < 1e-9
