"""Mist: both losses and their balance by formula, the pattern, and textural without a denoiser."""

import pytest
import torch

from intaglio.protect.methods.advdm import AdvDM
from intaglio.protect.methods.mist import Mist, pattern
from intaglio.randomness import generator
from protect_scenes import model, surrogate

SMALL = {"budget": 8.0, "steps": 3, "samples": 1, "batch": 3}
BAD = {"weight": -1.0}
PIECES = {"micro_batch": 1}
VARIANTS = {"textural": {"SMALL": {"mode": "textural"}, "BAD": {"samples": 0}, "PIECES": {"micro_batch": 1}}}


def textural_by_hand(net, pixels, target):
    x = pixels.clone().requires_grad_(True)
    loss = (net.encode(x) - net.encode(target)).square().mean()
    (slope,) = torch.autograd.grad(-loss, x)
    return -loss.detach()[None], slope


@pytest.mark.parametrize("given_target", [False, True])
def test_textural_lowers_the_mean_squared_distance_of_latents(given_target, monkeypatch):
    net, source = model(), torch.Generator().manual_seed(0)
    pixels, target = torch.rand(1, 3, 16, 16, generator=source), torch.rand(1, 3, 16, 16, generator=source)
    wanted, slope = textural_by_hand(net, pixels, target if given_target else pattern(16))
    monkeypatch.setattr(net.denoiser, "forward", lambda *a, **k: pytest.fail("called"))
    with surrogate(net) as given:
        value, gradient = Mist(mode="textural").gradient(
            given, pixels, target if given_target else None, [generator(0)]
        )
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(gradient, slope, rtol=1e-3, atol=1e-6)


def test_fused_adds_the_weighted_denoising_loss_on_the_scale_of_means(monkeypatch):
    net, pixels = model(), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    # without the posterior's noise the two losses see the same latents and draws
    encode = net.encode
    monkeypatch.setattr(net, "encode", lambda pixels, sources=None: encode(pixels))
    wanted, slope = textural_by_hand(net, pixels, pattern(16))
    with surrogate(net) as given:
        loss, rise = AdvDM(samples=3).gradient(given, pixels, None, [generator(7)])
        value, gradient = Mist(samples=3, weight=0.5).gradient(given, pixels, None, [generator(7)])
    entries = encode(pixels).numel()  # AdvDM's gradient is of the summed errors
    torch.testing.assert_close(value, wanted + 0.5 * loss)
    torch.testing.assert_close(gradient, slope + 0.5 * rise / entries, rtol=1e-3, atol=1e-6)


def test_the_published_weight_on_the_scale_of_means():
    # a sum over 4 x 64 x 64 entries against a mean by 1e4
    assert Mist().weight == pytest.approx(1e4 / (4 * 64 * 64), abs=0.001)


@pytest.mark.parametrize("side", [16, 64, 100])
def test_the_pattern_is_nested_squares_of_full_contrast(side):
    found = pattern(side)
    assert found.shape == (1, 3, side, side)
    assert set(found.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(found, found.flip(-1))
    assert torch.equal(found, found.transpose(-1, -2))
    assert float(found[..., 0, :].max()) == 0
    rings = found[0, 0, side // 2].diff().ne(0).sum()
    assert int(rings) == 2 * (8 - 1) if side > 16 else int(rings) > 4
