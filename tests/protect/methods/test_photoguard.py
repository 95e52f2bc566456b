"""PhotoGuard's encoder attack: the distance it lowers, its steps, and no call of the denoiser."""

import pytest
import torch

from intaglio.protect.methods.photoguard import PhotoGuard
from intaglio.randomness import generator
from protect_scenes import model, surrogate

SMALL = {"budget": 8.0, "steps": 3, "batch": 3}
BAD = {"flat": 0.0}
PIECES = {"micro_batch": 1}


@pytest.mark.parametrize("aimed", [False, True])
def test_it_lowers_the_distance_of_unscaled_means(aimed):
    net, source = model(), torch.Generator().manual_seed(0)
    pixels, target = torch.rand(1, 3, 16, 16, generator=source), torch.rand(1, 3, 16, 16, generator=source)
    x = pixels.clone().requires_grad_(True)
    mean = net.autoencoder.encode(x * 2 - 1).latent_dist.mean
    aim = net.autoencoder.encode(target * 2 - 1).latent_dist.mean.detach() if aimed else 0.0
    distance = (mean - aim).norm()
    (slope,) = torch.autograd.grad(-distance, x)
    with surrogate(net) as given:
        value, gradient = PhotoGuard().gradient(given, pixels, target if aimed else None, [generator(0)])
    torch.testing.assert_close(value, -distance.detach()[None])
    # passed back through scaled latents, so a factor of the scaling apart
    torch.testing.assert_close(gradient / net.scaling_factor, slope, rtol=1e-3, atol=1e-6)


def test_steps_shrink_to_a_hundredth():
    method = PhotoGuard(step=2.0, steps=11)
    assert [method.step_size(k) for k in (0, 5, 10)] == pytest.approx([2.0, 2.0 * 0.505, 0.02])


def test_the_denoiser_is_never_called(monkeypatch):
    net = model()
    monkeypatch.setattr(net.denoiser, "forward", lambda *a, **k: pytest.fail("called"))
    with surrogate(net) as given:
        value, _ = PhotoGuard().gradient(given, torch.rand(2, 3, 16, 16), None, [generator(0), generator(1)])
    assert value.shape == (2,)
