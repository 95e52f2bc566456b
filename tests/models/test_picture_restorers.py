"""The network that restores pictures: layers by hand, what it cannot see, sizes, its file, files that are none."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import conv2d

from intaglio.errors import BadInput
from intaglio.models import testbed
from intaglio.models.picture_restorers import (
    load_picture_restorer,
    new_picture_restorer,
    restored,
    save_picture_restorer,
)


def pictures(*size):
    return torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0)) / 255


@pytest.fixture(scope="module")
def network():
    """Small, with a last layer that is not zero."""
    found = new_picture_restorer(3, 5, 2)
    with torch.no_grad():
        found.last.weight.uniform_(-0.05, 0.05, generator=torch.Generator().manual_seed(1))
    return found.requires_grad_(False)


def test_the_output_is_coarse_levels_and_what_the_layers_by_hand_add(network):
    given = pictures(2, 3, 6, 8)
    coarse = (torch.div(given * 255 + 0.01, 4, rounding_mode="floor") * 4 + 1.5) / 255
    state = network.state_dict()

    def layer(x, name):
        return conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    corners = [(1 - coarse)[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    maps = layer(torch.stack(corners, 2).flatten(1, 2), "first")
    for block in (0, 1):
        maps = maps + layer(layer(maps, f"body.{block}.inner").relu(), f"body.{block}.outer")
    added = layer(maps, "last").view(2, 3, 2, 2, 3, 4).permute(0, 1, 4, 2, 5, 3).reshape(2, 3, 6, 8)
    torch.testing.assert_close(network(given), (coarse + added).clamp(0, 1), rtol=0, atol=1e-5)
    untrained = new_picture_restorer(3, 5, 2)(given).detach()
    torch.testing.assert_close(untrained, coarse, rtol=0, atol=1e-6)


def test_what_lies_in_the_two_lowest_bits_alone_makes_no_difference(network):
    levels = torch.randint(0, 64, (1, 3, 10, 12), generator=torch.Generator().manual_seed(2)) * 4
    every = [network((levels + low) / 255) for low in range(4)]
    assert all(torch.equal(every[0], other) for other in every[1:])
    assert not torch.equal(every[0], network((levels + 4).clamp(max=255) / 255))


@pytest.mark.parametrize("size", [(7, 12), (13, 5), (1, 1), (1, 6), (2, 2)])
def test_any_size_is_kept_and_odd_sides_are_mirrored(network, size):
    given = pictures(1, 3, *size)
    found = network(given)
    assert found.shape == given.shape
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    height, width = size
    rows = [*range(height)] + ([max(0, height - 2) if width > 1 else 0] if height % 2 else [])
    columns = [*range(width)] + ([max(0, width - 2) if height > 1 else width - 1] if width % 2 else [])
    whole = network(given[:, :, rows][..., columns])
    torch.testing.assert_close(found, whole[..., :height, :width], rtol=0, atol=1e-6)


def test_pieces_are_as_the_whole_and_nothing_beyond_the_reach_matters(network):
    given = pictures(2, 3, 41, 30)
    whole = network(given)
    for piece in (2, 9, 64):
        torch.testing.assert_close(restored(network, given, piece), whole, rtol=0, atol=1e-6)
    assert network.reach == 13
    changed = given.clone()
    changed[..., 0, :] = 1 - changed[..., 0, :]
    apart = (network(changed) - whole).abs().amax((0, 1, 3))
    assert float(apart[: network.reach].min()) > 0
    assert float(apart[network.reach + 1 :].max()) == 0


def test_it_is_saved_in_eight_bits_and_read_again(network, tmp_path):
    path = tmp_path / "r.safetensors"
    save_picture_restorer(network, path, {"steps": "7"})
    read = load_picture_restorer(path)
    assert (read.width, read.blocks, read.training) == (5, 2, False)
    assert not any(weight.requires_grad for weight in read.parameters())
    for key, value in network.state_dict().items():
        step = value.abs().flatten(1).amax(1) / 127 if value.dim() == 4 else torch.zeros(1)
        apart = (read.state_dict()[key] - value).abs().flatten(1 if value.dim() == 4 else 0).amax(-1)
        assert (apart <= step * 0.5001).all(), key


@pytest.mark.parametrize(
    ("about", "tensors", "words"),
    [
        ({"architecture": "other"}, {}, "does not say in its metadata that it is a intaglio-picture-restorer-1"),
        ({"width": "4000000000"}, {}, "is damaged: its tensors do not fit its metadata"),
        ({"width": "6"}, {}, r"is damaged: .* \("),
        ({"blocks": "3"}, {}, r"is damaged: .* \(body.2"),
        ({"blocks": "true"}, {}, "is damaged"),
        ({"blocks": "{"}, {}, "r.safetensors"),
        ({}, {"last.bias": torch.full((12,), float("nan"))}, r"NaN or infinity \(last.bias\)"),
        ({}, {"last.weight.scale": torch.ones(11)}, "is damaged"),
    ],
)
def test_files_that_lie_are_refused(network, tmp_path, about, tensors, words):
    path = tmp_path / "r.safetensors"
    save_picture_restorer(network, path)
    whole = {"architecture": "intaglio-picture-restorer-1", "width": "5", "blocks": "2"}
    save_file({**load_file(path), **tensors}, path, {**whole, **about})
    with pytest.raises(BadInput, match=words):
        load_picture_restorer(path)


def test_pickles_and_truncated_files_are_refused(network, tmp_path):
    path = tmp_path / "r.safetensors"
    torch.save({"a": 1}, path)
    with pytest.raises(BadInput, match="holds pickled picture restorer"):
        load_picture_restorer(path)
    save_picture_restorer(network, path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BadInput, match="truncated"):
        load_picture_restorer(path)


def test_the_embedded_one_brings_pictures_nearer_to_what_they_were():
    """Artist and noise-like tiles are none that it learnt from."""
    assert testbed.destroyer_path().stat().st_size < 400_000
    clean = testbed.few_shot("hands").members.pixels[:4]
    waves = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).repeat(1, 1, 8, 8)
    given = (clean + 3 / 255 * waves).clamp(0, 1)
    found = restored(testbed.destroyer(), given, 64)
    assert float((found - clean).square().mean()) < 0.8 * float((given - clean).square().mean())
