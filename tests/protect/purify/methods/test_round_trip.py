"""round-trip: the autoencoder alone, as often as asked."""

from itertools import pairwise

import pytest
import torch

from intaglio.protect.purify.family import tile_starts
from intaglio.protect.purify.methods.round_trip import RoundTrip
from protect_scenes import levels, model

SMALL = {"times": 1}
BAD = {"times": 0}
PIECES = {}


def test_the_picture_is_decoded_from_its_own_latents():
    net, given = model(), levels()
    once = net.decode(net.encode(given)).detach()
    torch.testing.assert_close(RoundTrip().clean(given, net, 0), once)
    torch.testing.assert_close(RoundTrip(times=2).clean(given, net, 0), net.decode(net.encode(once)).detach())


def test_larger_pictures_are_cleaned_in_squares_that_cover_them_and_fade():
    """A model whose round trip halves its square: wherever squares overlap the halves agree."""
    net = model()
    net.encode = lambda pixels, generators=None: pixels[:, :1].repeat(1, 4, 1, 1)[..., ::2, ::2]
    net.decode = lambda latents, **_: torch.zeros(len(latents), 3, net.resolution, net.resolution) + 0.5
    found = RoundTrip().clean(torch.rand(2, 3, 21, 45), net, 0)
    torch.testing.assert_close(found, torch.full((2, 3, 21, 45), 0.5))
    assert tile_starts(45, 16) == [0, 10, 19, 29]
    for size in range(1, 80):
        starts = tile_starts(size, 16)
        assert starts[0] == 0
        assert starts[-1] + 16 >= size
        assert all(0 < later - now <= 12 for now, later in pairwise(starts))


def test_a_small_picture_is_mirrored_into_one_square():
    net, given = model(), levels(1, side=11)
    index = [k if k < 11 else 20 - k for k in range(16)]
    whole = RoundTrip().clean(given[..., index, :][..., index], net, 0)
    torch.testing.assert_close(RoundTrip().clean(given, net, 0), whole[..., :11, :11])


def test_where_squares_overlap_one_fades_into_the_next():
    """Every square comes back as a ramp of its columns; in a picture 28 wide two begin at 0 and 12."""
    net = model()
    ramp = torch.arange(16) / 15
    net.decode = lambda latents, **_: ramp.expand(len(latents), 3, 16, 16).clone()
    found = RoundTrip().clean(torch.rand(1, 3, 16, 28), net, 0)[0, 0, 5]
    torch.testing.assert_close(found[:12], ramp[:12])
    torch.testing.assert_close(found[16:], ramp[4:])
    for k in range(4):
        first, second = 3.5 - k, 0.5 + k  # from the border of each square, in pixels
        assert float(found[12 + k]) == pytest.approx(float(first * ramp[12 + k] + second * ramp[k]) / 4)
