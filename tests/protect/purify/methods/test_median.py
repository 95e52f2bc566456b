"""median: of each square, by hand, mirrored at the border."""

import numpy as np
import torch

from intaglio.protect.purify.methods.median import MedianFilter
from protect_scenes import levels

SMALL = {"side": 3}
BAD = {"side": 4}
PIECES = {}


def test_each_number_is_the_median_of_its_square():
    given = levels(2, side=9)
    found = MedianFilter(side=5).clean(given, None, 0)
    mirrored = np.pad(given.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    for y in range(9):
        for x in range(9):
            expected = np.median(mirrored[..., y : y + 5, x : x + 5], axis=(2, 3))
            np.testing.assert_array_equal(found[..., y, x].numpy(), expected)


def test_a_single_speck_is_gone_and_an_edge_stays():
    given = torch.zeros(1, 3, 12, 12)
    given[..., 6:] = 1.0
    speck = given.clone()
    speck[..., 3, 2] = 1.0
    assert torch.equal(MedianFilter().clean(speck, None, 0), given)
