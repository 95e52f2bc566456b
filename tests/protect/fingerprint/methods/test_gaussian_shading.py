"""Gaussian Shading: lossless noise, exact tests of signs, majorities in closed form, and nonces."""

import pytest
import torch
from scipy.stats import binom, kstest

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import unit_noise
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.protect.fingerprint.methods.gaussian_shading import GaussianShading

SMALL = {"inversion_steps": 2}
BAD = {"factor": 0}
PIECES = {"micro_batch": 1}

SHAPE = (4, 16, 16)
MARK = GaussianShading(factor=4)


def starts(count, user=0, key=0, seeds=None):
    return MARK.start(SHAPE, MarkKey.of_seed(key), user, range(count) if seeds is None else seeds)


def read(noise, users=(0,), key=0, nonce=0):
    owner = MarkKey.of_seed(key)
    return MARK.agreement(noise, MARK.meant(owner, users, SHAPE), owner, nonce)


def test_the_start_is_standard_normal_noise_of_the_seed_s_own_sizes():
    noise = starts(64)
    assert kstest(noise.flatten().numpy(), "norm").pvalue > 0.01
    own = unit_noise(SHAPE, [torch.Generator().manual_seed(seed) for seed in range(64)])
    assert torch.equal(noise.abs(), own.abs())
    signs = (noise > 0).double()
    assert abs(float(signs.mean()) - 0.5) < 4 * 0.5 / signs.numel() ** 0.5


def test_signs_of_one_user_s_pictures_are_independent_and_with_one_nonce_they_are_the_same():
    apart, same = starts(2), starts(2, seeds=[5, 5])
    agree = ((apart[0] > 0) == (apart[1] > 0)).double().mean()
    assert abs(float(agree) - 0.5) < 4 * 0.5 / 1024**0.5
    assert torch.equal(same[0] > 0, same[1] > 0)


def test_the_start_gives_all_bits_back_and_so_does_each_sign():
    found = read(starts(1, user=2), users=(1, 2))
    assert found.statistic[0, 1] == 1024
    assert found.bits[0, 1] == 1
    assert float(found.p[0, 1]) == pytest.approx(2.0**-1024)
    assert float(found.p[0, 0]) > 1e-6


@pytest.mark.parametrize(("share", "published"), [(0.3, 0.950), (0.4, 0.787)])
def test_majorities_of_flipped_signs_are_right_as_often_as_they_must(share, published):
    """Of 16 repeats more than 8 must hold; a tie reads 0, which is right for half of the bits."""
    source = torch.Generator().manual_seed(1)
    noise = torch.cat([starts(1, seeds=[seed]) for seed in range(200)])
    flips = torch.rand(noise.shape, generator=source) < share
    held = torch.where(flips, -noise, noise)
    found = torch.cat([read(held[seed : seed + 1], nonce=seed).bits for seed in range(200)])
    expected = binom.sf(8, 16, 1 - share) + binom.pmf(8, 16, 1 - share) / 2
    assert expected == pytest.approx(published, abs=2e-3)
    assert float(found.mean()) == pytest.approx(expected, abs=0.01)


def test_p_is_the_binomial_tail_and_right_cells_are_counted_one_by_one():
    noise = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2))
    found, key = read(noise, users=(0, 7), nonce=3), MarkKey.of_seed(0)
    stream = key.bits(1024, "stream", 3).view(SHAPE)
    for place, user in enumerate((0, 7)):
        message = key.bits(64, "message", user).view(4, 4, 4)
        for row in range(3):
            right = sum(
                bool(noise[row, c, y, x] > 0) == bool(message[c, y % 4, x % 4] ^ stream[c, y, x])
                for c in range(4)
                for y in range(16)
                for x in range(16)
            )
            assert found.statistic[row, place] == right
            assert float(found.p[row, place]) == pytest.approx(float(binom.sf(right - 1, 1024, 0.5)))


def test_of_wrong_keys_p_is_uniform():
    noise = starts(1)
    p = torch.cat([read(noise, key=key, nonce=key).p[0] for key in range(1, 400)])
    assert kstest(p.numpy(), "uniform").pvalue > 0.01


def test_latents_that_squares_do_not_fill_are_refused():
    with pytest.raises(BadInput, match="squares of 3 do not fill"):
        GaussianShading(factor=3).check_shape(SHAPE, "x")
