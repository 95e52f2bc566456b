"""Purifiers: size and range stay, each does what its formula says; models are left as found."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from intaglio.protect.purifiers import PURIFIERS, blurred, diffused, jpeg, noised, resized, total_variation
from protect_scenes import model


def pictures(count=2, side=16, seed=0):
    levels = torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(seed))
    return levels / 255


@pytest.fixture(scope="module")
def net():
    return model()


@pytest.mark.parametrize("name", PURIFIERS)
def test_size_and_range_stay_and_the_same_seed_gives_the_same_bits(name, net):
    purifier, given = PURIFIERS[name], pictures()
    assert (purifier.name, purifier.words[0].islower()) == (name, True)
    found = purifier.clean(given, net, 3)
    assert found.shape == given.shape
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert torch.equal(found, purifier.clean(given, net, 3))
    assert torch.equal(found, given) is (name == "none")


def test_jpeg_is_pillows_own():
    given = pictures(1)
    file = io.BytesIO()
    Image.fromarray((given[0] * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=50)
    wanted = np.array(Image.open(file))
    assert np.array_equal((jpeg(given, 50)[0] * 255).round().byte().permute(1, 2, 0).numpy(), wanted)
    errors = [float((jpeg(given, quality) - given).abs().mean()) for quality in (95, 75, 30)]
    assert errors == sorted(errors)


def test_blur_is_a_gaussian_of_its_deviation():
    point = torch.zeros(1, 3, 33, 33)
    point[..., 16, 16] = 1
    found = blurred(point, 2.0)[0, 0]
    place = torch.arange(33) - 16.0
    assert float(found.sum()) == pytest.approx(1, abs=1e-3)
    assert float((found.sum(0) * place**2).sum()) == pytest.approx(4, rel=0.05)
    assert torch.allclose(blurred(torch.full((1, 3, 5, 5), 0.3), 1.0), torch.full((1, 3, 5, 5), 0.3))


def test_resizing_keeps_what_is_smooth_and_loses_what_is_fine():
    smooth = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    assert float((resized(smooth, 0.5) - smooth)[..., 4:-4].abs().max()) < 0.02
    fine = (torch.arange(32) % 2).float().expand(1, 3, 32, 32)
    assert float((resized(fine, 0.5) - 0.5).abs().mean()) < 0.1


def test_noise_has_its_deviation():
    found = noised(torch.full((1, 3, 64, 64), 0.5), 0.05, 0) - 0.5
    assert float(found.std()) == pytest.approx(0.05, rel=0.03)


def energy(u, x, weight):
    down, right = torch.zeros_like(u), torch.zeros_like(u)
    down[..., :-1, :] = u[..., 1:, :] - u[..., :-1, :]
    right[..., :, :-1] = u[..., :, 1:] - u[..., :, :-1]
    variation = (down.square() + right.square()).sum(1).sqrt().sum()
    return float((u - x).square().sum() / 2 + weight * variation)


def test_total_variation_reaches_the_least_energy():
    x = 0.25 + pictures(1, 8) / 2
    found = total_variation(x, 0.1, steps=500)
    least = energy(found, x, 0.1)
    assert least < energy(x, x, 0.1)
    for seed in range(20):
        nudge = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)) * 0.01
        assert energy(found + nudge, x, 0.1) > least
    # a single step edge of height 1 between halves of m pixels each loses weight / m at each side (one dimension)
    edge = torch.zeros(1, 3, 1, 20)
    edge[..., 10:] = 1.0
    flat = total_variation(edge, 0.1, steps=3000)
    assert float(flat[..., :10].mean()) == pytest.approx(0.1 / 10 / 3**0.5, rel=0.05)


def test_diffusing_less_changes_less_and_leaves_the_model_as_found(net):
    given, before = pictures(), net.fingerprint
    little, much = (diffused(given, net, 0, share=share) for share in (0.02, 0.6))
    assert float((little - much).abs().max()) > 0
    passed = net.decode(net.encode(given).detach()).detach()
    assert float((little - passed).abs().mean()) < float((much - passed).abs().mean())
    assert net.fingerprint == before
    assert all(weight.requires_grad for weight in net.parts["denoiser"].parameters())


def test_a_purifier_of_a_model_says_so():
    assert {name for name, one in PURIFIERS.items() if one.uses_model} == {"diffuse", "noisy-upscale"}
    with pytest.raises(ValueError, match="needs a model"):
        PURIFIERS["diffuse"].clean(pictures(), None, 0)
