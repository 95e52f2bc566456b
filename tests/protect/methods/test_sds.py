"""SDS: the residual passed back through the encoder, by its formula; no backward pass of the denoiser."""

import pytest
import torch

from intaglio.denoising.samples import standard_normal, stratified_timesteps
from intaglio.protect.methods.sds import SDS
from intaglio.randomness import generator
from protect_scenes import model, surrogate

SMALL = {"budget": 8.0, "steps": 3, "samples": 2, "batch": 3, "direction": "up"}
BAD = {"samples": 0}
PIECES = {"micro_batch": 1}
VARIANTS = {"down": {"SMALL": {"direction": "down"}, "BAD": {"samples": -1}, "PIECES": {"micro_batch": 1}}}


@pytest.mark.parametrize("direction", ["up", "down"])
def test_the_residual_is_passed_back_through_the_encoder_alone(direction):
    net, pixels = model(), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    sign = 1 if direction == "up" else -1
    x, source = pixels.clone().requires_grad_(True), generator(7)
    latents = net.encode(x, [source])
    t = stratified_timesteps(3, (0, net.schedule.count - 1), source)
    noise = standard_normal(3, latents.shape[1:], source)
    text, residuals = net.embed(["cat"]).detach(), []
    for k in range(3):
        a = net.schedule.signals[t[k]].float()
        noised = (a * latents + (1 - a**2).sqrt() * noise[k]).detach()
        with torch.no_grad():
            output = net.denoiser(noised, t[k : k + 1], encoder_hidden_states=text.hidden, return_dict=False)[0]
        residuals.append(output - noise[k])
    (slope,) = torch.autograd.grad(latents, x, sign * torch.stack(residuals).mean(0))
    with surrogate(net, "cat") as given:
        value, gradient = SDS(samples=3, direction=direction).gradient(given, pixels, None, [generator(7)])
    torch.testing.assert_close(gradient, slope, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(value, sign * torch.stack(residuals).square().mean()[None])


def test_no_gradient_is_asked_of_the_denoiser():
    net = model()
    seen = []
    net.denoiser.register_forward_hook(lambda module, given, out: seen.append(out[0].requires_grad))
    with surrogate(net) as given:
        SDS().gradient(given, torch.rand(1, 3, 16, 16), None, [generator(0)])
    assert seen
    assert not any(seen)
