"""Walks of a Gaussian, whose denoiser and path are known in closed form."""

import math

import torch

from intaglio.explain.counterfactuals.picture_walks import LAST, denoising_loss, levels, upward, walked

MEAN, SPREAD = 0.3, 0.5


def gaussian(pixels, times):
    """v of x0 ~ N(MEAN, SPREAD^2): from the best guess of x0."""
    alpha, sigma = (torch.cos(times * math.pi / 2), torch.sin(times * math.pi / 2))
    alpha, sigma = alpha[:, None, None, None], sigma[:, None, None, None]
    variance = (alpha * SPREAD) ** 2 + sigma**2
    clean = MEAN + alpha * SPREAD**2 / variance * (pixels - alpha * MEAN)
    noise = sigma / variance * (pixels - alpha * MEAN)
    return alpha * noise - sigma * clean


def test_a_walk_follows_the_path_of_a_gaussian_and_comes_back():
    pixels = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * SPREAD + MEAN
    alpha, sigma = math.cos(LAST * math.pi / 2), math.sin(LAST * math.pi / 2)
    spread = math.sqrt((alpha * SPREAD) ** 2 + sigma**2)
    path = alpha * MEAN + spread * (pixels - MEAN) / SPREAD
    found = walked(gaussian, pixels, upward(800))
    torch.testing.assert_close(found, path, atol=0.01, rtol=0)
    torch.testing.assert_close(walked(gaussian, found, upward(800)[::-1]), pixels, atol=0.01, rtol=0)
    torch.testing.assert_close(walked(gaussian, path, upward(800)[::-1]), pixels, atol=0.01, rtol=0)


def test_one_step_by_hand():
    pixels, half = torch.full((1, 3, 2, 2), 0.4), math.sqrt(0.5)
    found = walked(lambda x, t: torch.full_like(x, 0.2), pixels, [0.5, 1.0])
    noise = half * 0.4 + half * 0.2
    torch.testing.assert_close(found, torch.full_like(pixels, noise))


def test_times_begin_at_the_picture_and_are_even():
    assert upward(4) == [0.0, LAST / 4, LAST / 2, 3 * LAST / 4, LAST]
    alpha, sigma = levels(torch.tensor([0.0, 1.0, 1 / 3]))
    torch.testing.assert_close(alpha.flatten(), torch.tensor([1.0, 0.0, math.sqrt(0.75)]))
    torch.testing.assert_close(sigma.flatten(), torch.tensor([0.0, 1.0, 0.5]))


def test_the_loss_weighs_times_and_is_zero_for_the_true_velocity():
    pixels, noise = torch.full((2, 3, 2, 2), 0.5), torch.full((2, 3, 2, 2), -1.0)
    times = torch.tensor([0.1, 1 / 3])
    alpha, sigma = levels(times)
    assert float(denoising_loss(lambda x, t: alpha * noise - sigma * pixels, pixels, times, noise)) == 0
    weights = [5 * math.sin(math.pi / 20) ** 2, 1.0]
    squares = [(math.cos(math.pi * t / 2) + 0.5 * math.sin(math.pi * t / 2)) ** 2 for t in (0.1, 1 / 3)]
    wanted = sum(one * square for one, square in zip(weights, squares, strict=True)) / 2
    found = denoising_loss(lambda x, t: torch.zeros_like(x), pixels, times, noise)
    torch.testing.assert_close(float(found), wanted, atol=1e-5, rtol=0)
    seen = list[torch.Tensor]()
    denoising_loss(lambda x, t: seen.append(x) or x, pixels, times, noise)
    torch.testing.assert_close(seen[0], alpha * pixels + sigma * noise)
