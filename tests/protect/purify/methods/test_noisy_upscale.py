"""noisy-upscale: noised, shrunk, enlarged and diffused, in this order."""

import torch

from intaglio.protect.purify.methods.diffuse import Diffusing
from intaglio.protect.purify.methods.noise import AddedNoise
from intaglio.protect.purify.methods.noisy_upscale import NoisyUpscaling
from intaglio.protect.purify.methods.resize import Resizing
from protect_scenes import levels, model

SMALL = {"steps": 2}
BAD = {"shrunk": 1.0}
PIECES = {}


def test_the_parts_follow_each_other():
    net, given = model(), levels()
    rough = Resizing().clean(AddedNoise(deviation=0.1).clean(given, None, 3), None, 3)
    expected = Diffusing(share=0.2, steps=4).clean(rough, net, 3)
    torch.testing.assert_close(NoisyUpscaling(steps=4).clean(given, net, 3), expected)
