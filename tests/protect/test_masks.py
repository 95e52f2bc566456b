"""Masks from files: by the picture's name, upright, and a word about those that belong to none."""

import numpy as np
import pytest
from PIL import Image

from intaglio.errors import BadInput
from intaglio.protect.masks import read_masks
from intaglio.protect.protection import _share
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


def test_where_a_mask_is_transparent_nothing_may_change_and_the_line_is_drawn_at_128(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    pictures = originals(tmp_path / "in")
    rgba = np.full((16, 16, 4), 255, np.uint8)
    rgba[:, 8:, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "masks/0.png")
    found, _ = read_masks(tmp_path / "masks", pictures)
    assert (found["0.png"][:, :8] == 255).all()
    assert (found["0.png"][:, 8:] == 0).all()
    mask = np.full((16, 16), 127, np.uint8)
    mask[3, 5] = 128
    assert _share(pictures[0], mask).sum() == 1
    assert float(_share(pictures[0], mask)[0, 3, 5]) == 1


def test_two_masks_of_one_picture_are_refused_and_a_whole_name_goes_before_a_stem(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    pictures = originals(tmp_path / "in")
    white = Image.fromarray(np.full((16, 16), 255, np.uint8))
    for name in ("0.png", "0.bmp"):
        white.save(tmp_path / "masks" / name)
    with pytest.raises(BadInput, match=r"0\.bmp and 0\.png of .*masks are both masks of 0\.png; keep one"):
        read_masks(tmp_path / "masks", pictures)


def test_a_mask_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/0.png").write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"the mask .*0\.png cannot be used: it is not a PNG"):
        read_masks(tmp_path / "masks", originals(tmp_path / "in"))
