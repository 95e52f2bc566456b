"""dwt-dct: read again by loops over blocks, exact where nothing is rounded away, and the published package's faults."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from intaglio.errors import BadInput
from intaglio.metrics.quality import psnr
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.protect.fingerprint.methods.dwt_dct import DwtDct

SMALL = {"bits": 8}
BAD = {"bits": 7}
PIECES = {}

KEY = MarkKey.of_seed(0)


def pictures(count=3, side=64, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def read_by_hand(picture, bits, step):
    """The majority of each bit, block by block, as the docstring says."""
    red, green, blue = (255 * picture.double().numpy()[c] for c in range(3))
    u = 0.492 * (blue - (0.299 * red + 0.587 * green + 0.114 * blue))
    votes = [[] for _ in range(bits)]
    blocks = [(y, x) for y in range(0, u.shape[0] - 7, 8) for x in range(0, u.shape[1] - 7, 8)]
    for place, (y, x) in enumerate(blocks):
        low = u[y : y + 8, x : x + 8].reshape(4, 2, 4, 2).sum((1, 3)) / 2
        sizes = np.abs(dctn(low, norm="ortho")).ravel()[1:]
        votes[place % bits].append(sizes.max() % step > step / 2)
    return [np.mean(one) for one in votes]


def test_reading_follows_the_formula():
    given = pictures(2, 40)
    found = DwtDct(bits=8, step=30.0).read(given)
    expected = torch.tensor(np.array([read_by_hand(one, 8, 30.0) for one in given]))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_every_bit_comes_back_from_8_bit_pictures_flat_and_white_ones_too():
    given = torch.cat(
        [pictures(), torch.ones(1, 3, 64, 64), torch.zeros(1, 3, 64, 64), torch.full((1, 3, 64, 64), 0.5)]
    )
    mark = DwtDct(bits=64)
    marked = mark.embed(given, KEY, 3)
    torch.testing.assert_close(255 * marked, (255 * marked).round(), rtol=0, atol=1e-3)
    expected = KEY.bits(64, "message", 3).double()
    torch.testing.assert_close(mark.read(marked), expected.expand(6, -1), rtol=0, atol=0)


def test_a_picture_is_marked_alike_whatever_stands_beside_it():
    mark, given = DwtDct(), torch.cat([pictures(), torch.ones(1, 3, 64, 64)])
    together = mark.embed(given, KEY, 0)
    for one, alone in zip(together, given, strict=True):
        assert torch.equal(one[None], mark.embed(alone[None], KEY, 0))


def test_a_step_of_next_to_nothing_changes_nothing():
    given = (255 * pictures()).round() / 255
    torch.testing.assert_close(DwtDct(step=1e-4).embed(given, KEY, 0), given, rtol=0, atol=1e-6)


def test_rows_and_columns_beyond_the_last_block_stay():
    given = (255 * pictures(1, 45)).round() / 255
    marked = DwtDct(bits=8).embed(given, KEY, 0)
    assert torch.equal(marked[..., 40:, :], given[..., 40:, :])
    assert torch.equal(marked[..., 40:], given[..., 40:])


def test_the_published_package_swaps_details_and_spoils_an_edge():
    square = torch.ones(1, 3, 64, 64)
    square[:, 2, 17:43, 17:47] = 0  # yellow, far from white in the channel that carries the mark
    assert psnr(DwtDct(published=True).embed(square, KEY, 0), square) < 23
    assert psnr(DwtDct().embed(square, KEY, 0), square) > 30


def test_of_wrong_keys_right_bits_are_binomial():
    mark = DwtDct(bits=32)
    reading = mark.read(mark.embed(pictures(1), KEY, 0))
    p = torch.stack(
        [mark.agreement(reading, mark.meant(MarkKey.of_seed(k), [0], ()), KEY).p[0, 0] for k in range(1, 400)]
    )
    for rate in (0.5, 0.1, 0.02):
        assert float((p <= rate).double().mean()) <= rate + 3 * (rate * (1 - rate) / 399) ** 0.5


def test_a_picture_without_room_is_refused():
    with pytest.raises(BadInput, match="room for 16 bits of the 32"):
        DwtDct().check_shape((3, 32, 39), "x.png")
