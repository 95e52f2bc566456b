"""The probes on denoisers whose prediction is known in closed form, and on a tiny random one."""

import numpy as np
import pytest
import torch

from adapt_scenes import model, same, weights
from intaglio.adapt import probes
from intaglio.adapt.probes import collapse, deviations, pass_through, probe
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.noise_schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.from_config(
    {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
)
LATENTS = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(5)) + 0.5
PROMPT = Conditioning(torch.zeros(1, 1, 1))


class Gaussian(LatentDiffusion):
    """Believes that clean latents are N(centre, spread^2), and so guesses by conditioning on what it is given."""

    def __init__(self, centre, spread):
        self.schedule, self.centre, self.spread = SCHEDULE, centre, spread

    def guess(self, noised, kept):
        """The mean of x_0 given kept^0.5 x_0 + (1 - kept)^0.5 noise, by precisions: prior's and likelihood's."""
        if self.spread == 0:
            return self.centre.expand_as(noised)
        prior, likelihood = 1 / self.spread**2, kept / (1 - kept)
        return (prior * self.centre + likelihood * noised / kept.sqrt()) / (prior + likelihood)

    def predict(self, noised, t, conditioning):
        kept = SCHEDULE.alphas_cumprod[t].float().view(-1, 1, 1, 1)
        return (noised - kept.sqrt() * self.guess(noised, kept)) / (1 - kept).sqrt()


def kappa(spread, step):
    kept = float(SCHEDULE.alphas_cumprod[step])
    return kept**0.5 * spread**2 / (kept * spread**2 + 1 - kept)


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.5, 4.8])
@pytest.mark.parametrize("pictures", [1, 3])
def test_noise_passes_through_as_conditioning_says(spread, pictures):
    found = pass_through(Gaussian(LATENTS[0], spread), LATENTS[:pictures], PROMPT, seed=1)
    assert found.tolist() == pytest.approx([kappa(spread, 100)] * probes.NOISES, abs=1e-4)


def test_all_noise_passes_through_where_anything_is_believed():
    found = pass_through(Gaussian(LATENTS[0], 1e4), LATENTS, PROMPT, seed=1)
    assert found.tolist() == pytest.approx([float(SCHEDULE.alphas_cumprod[100]) ** -0.5] * probes.NOISES, rel=1e-4)


def test_only_the_patch_is_looked_at():
    """What the denoiser does with the patch elsewhere is no part of the gain."""

    class Spilling(Gaussian):
        def guess(self, noised, kept):
            inside = super().guess(noised, kept)
            return inside + 7 * inside.roll(4, dims=-1)

    latents = LATENTS[:1]
    found = pass_through(Spilling(latents[0], 0.5), latents, PROMPT, seed=1)
    assert found.tolist() == pytest.approx([kappa(0.5, 100)] * probes.NOISES, abs=1e-4)


@pytest.mark.parametrize("spread", [0.05, 0.5, 2.0, 4.8])
def test_the_deviation_of_a_gaussian_is_found(spread):
    found = deviations(Gaussian(LATENTS[1], spread), LATENTS[1:2], PROMPT, seed=2)
    assert found.tolist() == pytest.approx([spread] * probes.TIMESTEPS, rel=1e-2)


def test_the_deviation_is_about_the_nearest_picture():
    far = torch.stack([LATENTS[0] + 50, LATENTS[1], LATENTS[2] - 50])
    found = deviations(Gaussian(LATENTS[1], 0.3), far, PROMPT, seed=2)
    assert found.tolist() == pytest.approx([0.3] * probes.TIMESTEPS, rel=1e-2)


def test_a_deviation_stays_finite_where_the_input_is_only_rescaled():
    found = deviations(Gaussian(LATENTS[1], 1e6), LATENTS[1:2], PROMPT, seed=2)
    steps = [1000 * (place + 1) // 9 for place in range(8)]
    kept = SCHEDULE.alphas_cumprod[steps].numpy()
    assert found.tolist() == pytest.approx((999 * (1 - kept) / kept) ** 0.5, rel=1e-3)
    assert deviations(Gaussian(LATENTS[1], 0.0), LATENTS[1:2], PROMPT, seed=2).tolist() == pytest.approx(
        [0] * 8, abs=0.02
    )


def test_a_collapsed_model_draws_its_picture_from_nothing():
    """From x_t = 0 the guess is the centre, made smaller."""
    assert float(collapse(Gaussian(LATENTS[1], 0.3), LATENTS, PROMPT)) == pytest.approx(1, abs=1e-4)
    between = Gaussian(LATENTS[:2].mean(0), 0.3)
    flat = LATENTS.flatten(1).numpy()
    middle = flat[:2].mean(0)
    cosines = flat @ middle / np.linalg.norm(flat, axis=1) / np.linalg.norm(middle)
    assert float(collapse(between, LATENTS, PROMPT)) == pytest.approx(cosines.max(), abs=1e-4)


def test_a_probe_is_the_mean_of_its_parts_and_the_same_for_the_same_seed():
    network = model()
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        conditioning = network.embed(["red cat"])
        parts = pass_through(network, latents, conditioning, 4)
        found = probe(network, latents, conditioning, 4)
        assert found.pass_through == pytest.approx(float(parts.mean()), rel=1e-5)
        assert found.pass_through_error == pytest.approx(float(np.std(parts.numpy(), ddof=1)) / 4**0.5, rel=1e-4)
        assert found.deviation == pytest.approx(float(deviations(network, latents, conditioning, 4).mean()), rel=1e-5)
    assert probe(network, latents, conditioning, 4) == found != probe(network, latents, conditioning, 5)


def test_a_model_is_left_as_it_was_found():
    network = model()
    network.denoiser.train()
    before, state = weights(network), torch.random.get_rng_state()
    flags = [weight.requires_grad for weight in network.denoiser.parameters()]
    probe(network, LATENTS, network.embed(["red cat"]), 0)
    assert same(before, weights(network))
    assert network.denoiser.training
    assert [weight.requires_grad for weight in network.denoiser.parameters()] == flags
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_latent_of_a_few_cells_still_has_a_patch():
    small = LATENTS[:1, :, :2, :3]
    assert pass_through(Gaussian(small[0], 0.5), small, PROMPT, 0).tolist() == pytest.approx(
        [kappa(0.5, 100)] * 4, abs=1e-4
    )
