"""Tree-Ring: its exact null, counted over one of each pair of frequencies, and its key, found again."""

import cmath

import numpy as np
import pytest
import torch
from scipy.stats import kstest, ncx2

from intaglio.errors import BadInput
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.protect.fingerprint.methods.tree_ring import TreeRing

SMALL = {"inversion_steps": 2}
BAD = {"radius": 0.5}
PIECES = {"micro_batch": 1}

KEY = MarkKey.of_seed(0)


def unit(count, shape=(4, 16, 16), seed=0):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def read(mark, noise, users=(0,), key=KEY):
    return mark.agreement(noise, mark.meant(key, users, noise.shape[1:]), key)


@pytest.mark.parametrize(
    ("mark", "shape"),
    [
        (TreeRing(), (4, 16, 16)),
        (TreeRing(pattern="ring", radius=3 / 16, channels=(2,)), (4, 16, 16)),
        (TreeRing(radius=0.3), (2, 9, 14)),
    ],
)
def test_of_unit_noise_p_is_uniform_for_every_key(mark, shape):
    p = read(mark, unit(2000, shape), users=range(2)).p
    for user in range(2):
        assert kstest(p[:, user].numpy(), "uniform").pvalue > 0.01


def test_the_statistic_is_the_sum_over_one_of_each_pair():
    """By a sum over frequencies with a transform written out, for one channel of 5 x 6 cells."""
    mark, noise = TreeRing(radius=0.4), unit(1, (1, 5, 6))
    pattern = torch.randn((1, 5, 6), generator=KEY.generator("tree-ring", 0), dtype=torch.float64)

    def wave(cells, a, b):
        return sum(
            float(cells[y, x]) * cmath.exp(-2j * cmath.pi * (a * y / 5 + b * x / 6)) for y in range(5) for x in range(6)
        )

    total, freedom, away, seen = 0.0, 0, 0.0, set()
    for a in range(-2, 3):
        for b in range(-2, 4):
            if (a * a + b * b) ** 0.5 > 0.4 * 5 or (-a % 5, -b % 6) in seen:
                continue
            seen.add((a % 5, b % 6))
            own = (a % 5, b % 6) == (-a % 5, -b % 6)
            mine, key = wave(noise[0, 0], a, b), wave(pattern[0], a, b)
            weight = (1 if own else 2) / 30
            total, away = total + weight * abs(mine - key) ** 2, away + weight * abs(key) ** 2
            freedom += 1 if own else 2
    found = read(mark, noise)
    assert float(found.statistic) == pytest.approx(total)
    assert float(found.p) == pytest.approx(float(ncx2.cdf(total, freedom, away)))


def test_a_disc_of_three_frequencies_has_29_degrees_of_freedom():
    weight = TreeRing(radius=3 / 16)._weight((16, 16))
    assert round(float(weight.sum() * 256)) == 29


@pytest.mark.parametrize("pattern", ["noise", "ring"])
def test_the_marked_noise_is_real_and_holds_the_key(pattern):
    mark, noise = TreeRing(pattern=pattern), unit(2)
    marked = mark.marked(noise.double(), KEY, 5, (0, 1))
    assert float(read(mark, marked, users=(5,)).statistic.max()) < 1e-20
    outside = torch.fft.fft2(marked - noise.double()).abs()
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(16) * 16, np.fft.fftfreq(16) * 16))
    assert float(outside[..., torch.from_numpy(frequency > 4)].max()) < 1e-10


def test_marked_noise_of_the_noise_pattern_is_unit_noise_over_keys():
    noise = unit(300)
    marked = torch.cat([TreeRing().marked(noise[k : k + 1], MarkKey.of_seed(k), 0, (0,)) for k in range(300)])
    assert kstest(marked[:, 0, 3, 5].numpy(), "norm").pvalue > 0.01
    assert float(marked.square().mean()) == pytest.approx(1, abs=0.02)


def test_rings_are_alike_at_every_angle():
    mark = TreeRing(pattern="ring")
    marked = mark.marked(torch.zeros(1, 1, 16, 16), KEY, 0, (0,))
    wave = torch.fft.fft2(marked[0, 0])
    torch.testing.assert_close(wave[0, 3], wave[3, 0])
    torch.testing.assert_close(wave[0, 3], wave[-3, 0])


@pytest.mark.parametrize(("mark", "power"), [(TreeRing(), 0.94), (TreeRing(radius=3 / 16, channels=(0,)), 0.10)])
def test_the_power_at_a_correlation_of_028_is_that_of_the_disc(mark, power):
    """A reading 0.28 start + sqrt(1 - 0.28^2) noise, which keeps unit variance."""
    start = mark.marked(unit(2000), KEY, 0, range(2000))
    reading = 0.28 * start + (1 - 0.28**2) ** 0.5 * unit(2000, seed=1)
    p = read(mark, reading).p
    assert float((p <= 0.01).double().mean()) == pytest.approx(power, abs=0.06)


def test_a_channel_that_is_not_there_is_refused():
    with pytest.raises(BadInput, match="0 to 3"):
        TreeRing(channels=(4,)).check_shape((4, 8, 8), "x")
