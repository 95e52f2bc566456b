"""Verification of pairs: the rate on pairs of two sources, the power on planted ones, and who may be a partner."""

import pytest
import torch

from attribution_scenes import coloured
from intaglio.audit.attribution.methods.spectrum import Spectrum
from intaglio.audit.attribution.pair_verification import different_pairs, features_of, verify_pairs
from intaglio.errors import BadInput

METHOD = Spectrum(rings=8)
SOURCES = {"a": coloured(0, 60, 16), "b": coloured(2, 60, 16), "c": coloured(4, 30, 16)}


@pytest.fixture(scope="module")
def fitted():
    return METHOD.fit(SOURCES)


def test_calibration_takes_held_out_pictures_of_two_sources_each_once(fitted):
    one, other = different_pairs(fitted, SOURCES, 0)
    place = {
        picture.numpy().tobytes(): (name, content)
        for name, images in SOURCES.items()
        for picture, content in zip(images.pixels, images.hashes, strict=True)
    }
    pairs = [(place[a.numpy().tobytes()], place[b.numpy().tobytes()]) for a, b in zip(one, other, strict=True)]
    assert all(a[0] != b[0] for a, b in pairs)
    used = [content for pair in pairs for _, content in pair]
    assert len(used) == len(set(used))
    assert set(used) <= set(fitted.held)
    assert len(used) >= len(fitted.held) - 2
    with pytest.raises(BadInput, match="none of the pictures that were held out"):
        different_pairs(fitted, {"a": coloured(0, 4, 16, seed=5)}, 0)


def test_pairs_of_one_source_are_found_unknown_ones_too_and_the_rate_holds(fitted):
    a, b, new = (coloured(k, 80, 16, seed=1) for k in (0, 2, 3))
    half, rest = list(range(40)), list(range(40, 80))
    apart = verify_pairs(METHOD, fitted, a, b, SOURCES, rate=0.1)
    assert apart.same.double().mean() <= 0.1 + 0.1
    for images in (a, new):
        alike = verify_pairs(METHOD, fitted, images[half], images[rest], SOURCES, rate=0.1)
        assert alike.cosine.mean() > apart.cosine.mean() + 0.5
        assert alike.same.double().mean() > 0.5
    rows = [features_of(METHOD, fitted, images.pixels) for images in (a, b)]
    units = [row / row.norm(dim=1, keepdim=True) for row in rows]
    torch.testing.assert_close(apart.cosine, (units[0] * units[1]).sum(1))


def test_what_are_no_pairs_is_refused(fitted):
    with pytest.raises(BadInput, match="as many pictures in either set, not 2 and 3"):
        verify_pairs(METHOD, fitted, coloured(0, 2, 16), coloured(0, 3, 16), SOURCES)
    with pytest.raises(BadInput, match="pictures are 32x32 pixels and those of the sources 16x16"):
        verify_pairs(METHOD, fitted, coloured(0, 2, 16), coloured(0, 2, 32), SOURCES)
    with pytest.raises(ValueError, match="rate must lie"):
        verify_pairs(METHOD, fitted, coloured(0, 2, 16), coloured(0, 2, 16), SOURCES, rate=1.0)
