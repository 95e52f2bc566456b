"""Selectors of pixels: masks of any size, weights by a seed, and files that are read again or refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from intaglio.errors import BadInput
from intaglio.models.picture_selectors import ARCHITECTURE, load_selector, new_selector, save_selector


@pytest.fixture(scope="module")
def selector():
    net = new_selector(0, (4, 6, 8))
    net.train()
    with torch.no_grad():
        net(torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(0)))  # statistics of batches
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("size", [(16, 16), (13, 17), (1, 2)])
def test_masks_have_the_size_of_the_pictures_and_lie_between_0_and_1(selector, size):
    masks = selector(torch.rand(2, 3, *size))
    assert masks.shape == (2, *size)
    assert 0 < float(masks.min()) <= float(masks.max()) < 1


def test_weights_follow_from_the_seed_and_pictures_do_not_touch_each_other(selector):
    one, again, other = (new_selector(seed, (4, 6)).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["last.weight"], other["last.weight"])
    pixels = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(selector(pixels)[1:2], selector(pixels[1:2]))
    assert new_selector(0).last.bias.tolist() == [0]
    assert sum(one.numel() for one in new_selector(0).parameters()) == 3 * 9 * 16 + 9 * 16 * 32 + 9 * 32 * 64 + (
        9 * 96 * 32 + 9 * 48 * 16 + 2 * (16 + 32 + 64 + 32 + 16) + 17
    )


def test_a_file_gives_the_same_masks(selector, tmp_path):
    save_selector(selector, tmp_path / "s.safetensors", {"method": "comet"})
    read, pixels = load_selector(tmp_path / "s.safetensors"), torch.rand(2, 3, 9, 9)
    assert torch.equal(read(pixels), selector(pixels))
    assert not read.training
    assert not any(one.requires_grad for one in read.parameters())


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({}, "does not say in its metadata"),
        ({"widths": "[4, 6]"}, "is damaged"),
        ({"widths": "[4, 6, 99999]"}, "is damaged"),
        ({"widths": '"x"'}, "is damaged"),
        ({"widths": "[4, 6, 8]", "nan": "1"}, "holds NaN"),
    ],
)
def test_other_files_are_refused(selector, tmp_path, about, words):
    save_selector(selector, tmp_path / "s.safetensors")
    tensors = load_file(tmp_path / "s.safetensors")
    if "nan" in about:
        tensors["last.bias"] = torch.tensor([float("nan")])
    mark = {"architecture": ARCHITECTURE} if about else {}
    save_file(tensors, tmp_path / "t.safetensors", {**mark, **about, "x": json.dumps(1)})
    with pytest.raises(BadInput, match=words):
        load_selector(tmp_path / "t.safetensors")
