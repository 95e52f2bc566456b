"""PhotoGuard's diffusion attack: the distance of one edit by its formula, through the whole of it."""

import pytest
import torch

from intaglio.protect.denoising_walk import timesteps, walked
from intaglio.protect.methods.photoguard_diffusion import PhotoGuardDiffusion
from intaglio.randomness import generator
from protect_scenes import model, surrogate

SMALL = {"budget": 8.0, "steps": 3, "edit_steps": 2, "strength": 0.1, "batch": 3}
BAD = {"strength": 0.0}
PIECES = {"micro_batch": 1}
VARIANTS = {"edits": {"SMALL": {"samples": 2, "strength": 1.0}, "BAD": {"edit_steps": 0}, "PIECES": {"micro_batch": 1}}}


def by_hand(net, pixels, times, source, aim):
    """The distance of one edit with DDPM's ancestral steps, whose mean and variance are written out here."""
    x = pixels.clone().requires_grad_(True)
    z0 = net.encode(x, [source])
    signal = {t: float(net.schedule.signals[t]) for t in times}
    noise = {t: (1 - a**2) ** 0.5 for t, a in signal.items()}
    z = signal[times[0]] * z0 + noise[times[0]] * torch.randn(z0.shape[1:], generator=source)
    text = net.embed(["cat"]).detach()
    for now, after in zip(times, [*times[1:], None], strict=True):
        eps = net.predict(z, torch.tensor([now]), text)
        clean = (z - noise[now] * eps) / signal[now]
        if after is None:
            z = clean
            break
        # q(z_s | z_t, z_0) of the chain with beta = 1 - a_t^2 / a_s^2
        beta = 1 - (signal[now] / signal[after]) ** 2
        mean = (signal[after] * beta * clean + (signal[now] / signal[after]) * noise[after] ** 2 * z) / noise[now] ** 2
        deviation = (beta * noise[after] ** 2 / noise[now] ** 2) ** 0.5
        z = mean + deviation * torch.randn(z0.shape[1:], generator=source)
    distance = ((2 * net.decode(z) - 1) - (2 * aim - 1)).square().sum().sqrt()
    (slope,) = torch.autograd.grad(-distance, x)
    return -distance.detach()[None], slope


@pytest.mark.parametrize("given_target", [False, True])
def test_one_edit_is_ddpm_from_the_noised_picture(given_target):
    net, source = model(), torch.Generator().manual_seed(0)
    pixels, target = torch.rand(1, 3, 16, 16, generator=source), torch.rand(1, 3, 16, 16, generator=source)
    method = PhotoGuardDiffusion(edit_steps=3, strength=0.6)
    times = timesteps(net, 0.6, 3)
    assert times[0] == round(0.6 * (net.schedule.count - 1))
    assert len(times) == 3
    aim = target if given_target else torch.full_like(pixels, 0.5)
    wanted, slope = by_hand(net, pixels, times, generator(7), aim)
    with surrogate(net, "cat") as given:
        value, gradient = method.gradient(given, pixels, target if given_target else None, [generator(7)])
    torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient, slope, rtol=1e-2, atol=1e-4 * float(slope.abs().max()))


def test_several_edits_are_averaged():
    net, pixels = model(), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with surrogate(net, "cat") as given:
        source = generator(3)
        latents = net.encode(pixels, [source]).detach()
        ones = [PhotoGuardDiffusion()._edit(given, latents, torch.full_like(pixels, 0.5), [source]) for _ in range(2)]
        value, _ = PhotoGuardDiffusion(samples=2).gradient(given, pixels, None, [generator(3)])
    torch.testing.assert_close(value, -(ones[0][0] + ones[1][0]) / 2)
    assert not torch.equal(ones[0][0], ones[1][0])


def test_without_fresh_noise_a_walk_of_a_perfect_denoiser_ends_where_it_began():
    net = model()
    latents = torch.randn(
        2, *net.encode(torch.rand(1, 3, 16, 16)).shape[1:], generator=torch.Generator().manual_seed(0)
    )
    z0, true = latents.clone(), {}

    def predict(z, t, text):
        signal, noise = net.schedule.signals[t[0]].float(), (1 - net.schedule.signals[t[0]].float() ** 2).sqrt()
        true["seen"] = true.get("seen", 0) + 1
        return (z - signal * z0) / noise

    net.predict = predict
    for eta in (0.0, 1.0):
        found = walked(net, latents, net.embed([""]), timesteps(net, 0.5, 4), [generator(0), generator(1)], eta=eta)
        torch.testing.assert_close(found, z0, rtol=1e-3, atol=1e-3)
    assert true["seen"] == 8
