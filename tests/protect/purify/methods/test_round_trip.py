"""round-trip: the autoencoder alone, as often as asked."""

import torch

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
