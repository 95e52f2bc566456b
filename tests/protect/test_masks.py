"""Masks from files: by the picture's name, upright, and a word about those that belong to none."""

import numpy as np
import pytest
from PIL import Image

from intaglio.errors import BadInput
from intaglio.protect.masks import read_masks
from protect_scenes import originals


def test_masks_are_found_by_name_whatever_their_suffix(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    pictures = originals(tmp_path / "in")
    half = np.zeros((16, 16), np.uint8)
    half[:, 8:] = 255
    Image.fromarray(half).save(tmp_path / "masks/0.bmp")
    Image.fromarray(half).save(tmp_path / "masks/other.png")
    found, warnings = read_masks(tmp_path / "masks", pictures)
    assert set(found) == {"0.png"}
    assert np.array_equal(found["0.png"], half)
    assert warnings == ("masks of no picture, and ignored: other.png",)
    assert read_masks(None, pictures) == ({}, ())


def test_a_mask_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/0.png").write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"the mask .*0\.png cannot be used: it is not a PNG"):
        read_masks(tmp_path / "masks", originals(tmp_path / "in"))
