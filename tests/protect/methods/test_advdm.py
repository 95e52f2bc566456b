"""AdvDM: the loss it raises, by its formula; samples and direction."""

import pytest
import torch

from intaglio.denoising.samples import standard_normal, stratified_timesteps
from intaglio.protect.methods.advdm import AdvDM
from intaglio.randomness import generator
from protect_scenes import model, surrogate

SMALL = {"budget": 8.0, "steps": 3, "samples": 2, "batch": 3}
BAD = {"samples": 0}
PIECES = {"micro_batch": 1}
VARIANTS = {
    "random": {
        "SMALL": {"start": "random", "view": "tiles", "direction": "down"},
        "BAD": {"samples": -1},
        "PIECES": {"micro_batch": 1},
    }
}


def by_hand(net, pixels, seed, samples):
    """The mean loss over samples of one picture, through encoder and denoiser at once, and its gradient."""
    x = pixels.clone().requires_grad_(True)
    source = generator(seed)
    latents = net.encode(x, [source])
    t = stratified_timesteps(samples, (0, net.schedule.count - 1), source)
    noise = standard_normal(samples, latents.shape[1:], source)
    text = net.embed(["cat"]).detach()
    losses = []
    for k in range(samples):
        a = net.schedule.signals[t[k]].float()
        noised = a * latents + (1 - a**2).sqrt() * noise[k]
        output = net.denoiser(noised, t[k : k + 1], encoder_hidden_states=text.hidden, return_dict=False)[0]
        losses.append(((output - noise[k]) ** 2).mean())
    loss = torch.stack(losses).mean()
    (gradient,) = torch.autograd.grad(loss, x)
    return loss.detach(), gradient


@pytest.mark.parametrize("samples", [1, 3])
def test_two_stages_give_the_gradient_of_one(samples):
    net, pixels = model(), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with surrogate(net, "cat") as given:
        loss, gradient = AdvDM(samples=samples).gradient(given, pixels, None, [generator(7)])
    wanted, slope = by_hand(net, pixels, 7, samples)
    torch.testing.assert_close(loss, wanted[None])
    # the method's own is that of the summed squared errors, a constant times this one
    scale = net.encode(pixels).numel()
    torch.testing.assert_close(gradient, slope * scale, rtol=1e-3, atol=1e-5)


def test_down_lowers_what_up_raises():
    net, pixels = model(), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with surrogate(net) as given:
        up, down = (AdvDM(direction=d).gradient(given, pixels, None, [generator(7)]) for d in ("up", "down"))
    assert torch.equal(up[0], -down[0])
    assert torch.equal(up[1], -down[1])
