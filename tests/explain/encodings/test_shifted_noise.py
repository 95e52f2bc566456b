import torch

import encoding_scenes
from intaglio.explain.encodings.noise_slots import NoiseSlots
from intaglio.explain.encodings.shifted_noise import CodedDenoiser, level_weights, shift_factors

LEVELS = encoding_scenes.schedule()
SLOTS = NoiseSlots((400, 1000), (1, 1))


class Told(torch.nn.Module):
    """A gradient that is the sum of the numbers it is given."""

    def forward(self, noised, t, codes):
        return codes.sum(1).view(-1, 1, 1, 1).expand_as(noised)


def coded(predict=lambda x, t: 0.5 * x, gradient=None):
    return CodedDenoiser(predict, gradient or Told(), LEVELS, SLOTS)


def test_factors_shift_the_mean_of_a_step_by_its_posterior_coefficient():
    factors, betas = shift_factors(LEVELS), torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alphas, products = 1 - betas, torch.cumprod(1 - betas, 0)
    for t in (1, 10, 500, 999):
        expected = -alphas[t].sqrt() * (1 - products[t - 1]) / (1 - products[t]).sqrt()
        torch.testing.assert_close(factors[t], expected)
    assert abs(float(factors[0])) < 1e-9  # nothing is less noised than the first


def test_weights_are_those_of_the_signal_to_noise_ratio():
    products = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    ratio = products / (1 - products)
    torch.testing.assert_close(level_weights(LEVELS), ratio**0.1 / (1 + ratio))


def test_numbers_of_later_slots_change_nothing():
    x, codes = torch.ones(2, 1, 2, 2), torch.tensor([[1.0, 10.0], [1.0, 10.0]])
    t = torch.tensor([399, 400])
    base, shifted = coded().noise(x, t, codes)
    factors = shift_factors(LEVELS)[t].float()
    torch.testing.assert_close((shifted - base)[:, 0, 0, 0], factors * torch.tensor([1.0, 11.0]))
    torch.testing.assert_close(base, 0.5 * x)


def test_detached_numbers_are_given_and_learn_in_their_own_slot_alone():
    x, t = torch.ones(2, 1, 1, 1), torch.tensor([200, 800])
    for detach, expected in ((True, [[1.0, 0.0], [0.0, 1.0]]), (False, [[1.0, 0.0], [1.0, 1.0]])):
        codes = torch.ones(2, 2, requires_grad=True)
        shift = coded().shift(x, t, codes, detach)
        (shift / shift_factors(LEVELS)[t].float().view(-1, 1, 1, 1)).sum().backward()
        torch.testing.assert_close(codes.grad, torch.tensor(expected))


def test_errors_are_weighted_and_without_a_shift_are_the_frozen_ones():
    class Nothing(torch.nn.Module):
        def forward(self, noised, t, codes):
            return torch.zeros_like(noised)

    source = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 1, 2, 2, generator=source) for _ in range(2))
    t = torch.tensor([0, 500, 999])
    base, same = coded(gradient=Nothing()).errors(latents, noise, t, torch.ones(3, 2))
    assert torch.equal(base, same)
    a, s = (one[t].float().view(-1, 1, 1, 1) for one in (LEVELS.signals, LEVELS.noises))
    wanted = ((0.5 * (a * latents + s * noise) - noise) ** 2).mean((1, 2, 3))
    ratio = (LEVELS.signals[t] / LEVELS.noises[t]) ** 2
    torch.testing.assert_close(base, (ratio**0.1 / (1 + ratio)).float() * wanted)
