"""Purification of pictures: the seed decides on the noise, and each picture has its own."""

import numpy as np
import pytest

from intaglio.errors import BadInput
from intaglio.protect.originals import Original, read_original
from intaglio.protect.purify.methods.diffuse import Diffusing
from intaglio.protect.purify.methods.noise import AddedNoise
from intaglio.protect.purify.purification import purify_pictures

GREY = np.full((16, 20, 3), 128, np.uint8)
OTHER = np.full((16, 20, 3), 120, np.uint8)


def cleaned(folder, *pictures, seed=0):
    originals = [Original(f"{place}.png", pixels) for place, pixels in enumerate(pictures)]
    found = purify_pictures(AddedNoise(), originals, folder, seed=seed)
    return [read_original(folder / one.saved, one.saved).pixels.astype(int) for one in found.pictures], found


def test_noise_follows_from_seed_and_content(tmp_path):
    (one, same, other), found = cleaned(tmp_path / "a", GREY, GREY, OTHER)
    assert np.array_equal(one, same)
    assert np.corrcoef((one - 128).ravel(), (other - 120).ravel())[0, 1] < 0.2
    (again,), _ = cleaned(tmp_path / "b", GREY, seed=1)
    assert not np.array_equal(one, again)
    assert found.pictures[0].largest_difference == np.abs(one - 128).max()
    error = ((one - 128.0) / 255) ** 2
    assert found.pictures[0].psnr == pytest.approx(-10 * np.log10(error.mean()), abs=1e-3)


def test_a_method_of_a_model_wants_one_and_no_pictures_are_refused(tmp_path):
    with pytest.raises(BadInput, match="--model"):
        purify_pictures(Diffusing(), [Original("a.png", GREY)], tmp_path)
    with pytest.raises(BadInput, match="at least one"):
        purify_pictures(AddedNoise(), [], tmp_path)
