import math

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from intaglio.metrics.quality import psnr, roughness, ssim


def noisy(amount, side=24):
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(3, 3, side, side + 5, generator=generator)
    return a, (a + amount * torch.randn(a.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("amount", [0.01, 0.1, 0.5])
def test_agree_with_scikit_image(amount):
    a, b = noisy(amount)
    for i in range(3):
        x, y = a[i].double().numpy(), b[i].double().numpy()
        assert psnr(a, b)[i] == pytest.approx(peak_signal_noise_ratio(x, y, data_range=1), abs=1e-4)
        expected = structural_similarity(
            x, y, channel_axis=0, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert ssim(a, b)[i] == pytest.approx(expected, abs=1e-6)


def test_equal_and_flat_pictures():
    a, _ = noisy(0.1)
    assert ssim(a, a).tolist() == pytest.approx([1, 1, 1])
    assert all(math.isinf(v) for v in psnr(a, a))
    black, white = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
    c1 = 0.01**2
    assert ssim(black, white).item() == pytest.approx(c1 / (1 + c1))
    assert psnr(black, white).item() == pytest.approx(0.0)


def test_pictures_smaller_than_the_window():
    a, b = noisy(0.1, side=4)
    assert ssim(a[..., :4], b[..., :4]).shape == (3,)
    assert ssim(a[..., :1, :1], a[..., :1, :1]).tolist() == pytest.approx([1, 1, 1])


def test_roughness_is_the_power_that_a_median_takes_out():
    a, _ = noisy(0.1)
    for picture, found in zip(a.numpy(), roughness(a), strict=True):
        middle = np.stack([median_filter(channel, size=3, mode="nearest") for channel in picture])
        assert float(found) == pytest.approx(float(((picture - middle) ** 2).mean()), rel=1e-5)


def test_noise_is_rough_and_an_edge_is_not():
    half = torch.zeros(1, 3, 16, 16)
    half[..., 8:] = 1
    assert roughness(half).item() == 0
    speckled = half.clone()
    speckled[..., 3, 3] = 1
    assert roughness(speckled).item() == pytest.approx(1 / 256)
