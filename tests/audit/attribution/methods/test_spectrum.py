import math

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter
from scipy.stats import multivariate_normal

from attribution_scenes import coloured
from intaglio.audit.attribution.audit import attribute_pictures
from intaglio.audit.attribution.methods.spectrum import Spectrum, ring_powers
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet

SMALL = {"rings": 8, "batch": 2}
BAD = {"rings": 1}
PIECES = {"batch": 1}


def test_the_rings_are_those_of_a_slow_sum_over_frequencies():
    pixels = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    rings, sums = 6, [[] for _ in range(6)]
    for channel in pixels[0].double().numpy():
        residual = torch.from_numpy(channel - median_filter(channel, 3, mode="mirror"))
        for u in range(12):
            for v in range(16):
                angle = -2 * math.pi * (u * torch.arange(12)[:, None] / 12 + v * torch.arange(16)[None] / 16)
                size = ((residual * angle.cos()).sum() ** 2 + (residual * angle.sin()).sum() ** 2) / (12 * 16)
                radius = math.hypot(min(u, 12 - u) / 12, min(v, 16 - v) / 16)
                place = round(radius * 2 * rings)
                if 1 <= place <= rings:
                    sums[place - 1].append(float(size))
    by_hand = [math.log(sum(ring) / len(ring) + 1 / 12 / 255**2) for ring in sums]
    torch.testing.assert_close(ring_powers(pixels, rings)[0].tolist(), by_hand, rtol=1e-4, atol=1e-4)


def test_a_blank_picture_has_the_floor_of_rounding_in_every_ring():
    assert ring_powers(torch.ones(1, 3, 16, 16), 8).exp().mean() == pytest.approx(1 / 12 / 255**2, rel=1e-5)


def test_knownness_is_the_mixture_of_normal_densities():
    method = Spectrum(rings=4)
    learnt = {
        "mean": torch.zeros(4).double(),
        "deviation": torch.ones(4).double(),
        "weights": torch.zeros(2, 4).double(),
        "bias": torch.zeros(2).double(),
        "centres": torch.tensor([[0.0, 1, 0, 1], [2, 0, -1, 0]]).double() - 9,
        "precision": torch.diag(torch.tensor([1.0, 2, 3, 4])).double(),
    }
    pixels = coloured(0, 2).pixels
    rows, spread = ring_powers(pixels, 4).double().numpy(), torch.diag(1 / torch.tensor([1.0, 2, 3, 4])).numpy()
    each = [multivariate_normal(centre.numpy(), spread).logpdf(rows) for centre in learnt["centres"]]
    known = torch.logsumexp(torch.from_numpy(np.stack(each)), 0) - math.log(2)
    judged = method.judge(learnt, pixels, {})
    torch.testing.assert_close(judged.knownness, known)
    torch.testing.assert_close(judged.log_posterior, torch.full((2, 2), -math.log(2)).double())


def test_sources_of_other_spectra_are_told_apart_and_strangers_fit_none():
    method = Spectrum(rings=16)
    fitted = method.fit({"few": coloured(0, 40), "many": coloured(2, 60)})
    assert fitted.held_accuracy == 1
    found = attribute_pictures(method, fitted, coloured(2, 20, seed=1), rate=0.2)
    assert found.verdicts.count(1) >= 13
    assert found.verdicts.count(0) == 0
    strangers = ImageSet.from_pixels(torch.rand(10, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    found = attribute_pictures(method, fitted, strangers, rate=0.2)
    assert found.verdicts == [-1] * 10
    assert found.verdict(0) == "none of these"


def test_more_rings_than_frequencies_are_refused():
    with pytest.raises(BadInput, match="pictures of 16 pixels have 8 rings of frequencies at most; give --rings 8"):
        Spectrum(rings=9).fit({"a": coloured(0, 4, 16), "b": coloured(1, 4, 16)})


def test_numbers_of_pictures_are_no_prior():
    """Where a penalty leaves nothing but the intercepts, the posterior is even, whatever the counts."""
    for sources in ({"a": 12, "b": 40}, {"a": 12, "b": 40, "c": 8}):
        method = Spectrum(rings=2, penalty=1e9)
        fitted = method.fit({name: coloured(k, count, 16) for k, (name, count) in enumerate(sources.items())})
        even = torch.full((4, len(sources)), -math.log(len(sources))).double()
        found = method.judge(fitted.tensors, coloured(0, 4, 16, seed=2).pixels, {}).log_posterior
        torch.testing.assert_close(found, even, atol=2e-3, rtol=0)
