"""Sizes to which pictures are read for a network."""

import json

import pytest

from intaglio.commands.kit.picture_sides import check_resolution, picture_side


def test_pictures_are_read_as_asked_for_or_as_the_network_prepares_them(tmp_path):
    prepared = {"size": {"height": 48, "width": 48}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(prepared))
    assert picture_side(None, tmp_path) == 48
    assert picture_side(32, tmp_path) == 32
    assert picture_side(None, None) == picture_side(None, tmp_path / "net.safetensors") == 64
    check_resolution(None)
    check_resolution(16)
    with pytest.raises(ValueError, match="resolution must be 16 or more, not 15"):
        check_resolution(15)
