"""blur: a Gaussian of its deviation, which leaves flat pictures."""

import pytest
import torch

from intaglio.protect.purify.methods.blur import Blurring

SMALL = {"deviation": 0.8}
BAD = {"deviation": 0.0}
PIECES = {}


def test_blur_is_a_gaussian_of_its_deviation():
    point = torch.zeros(1, 3, 33, 33)
    point[..., 16, 16] = 1
    found = Blurring(deviation=2.0).clean(point, None, 0)[0, 0]
    place = torch.arange(33) - 16.0
    assert float(found.sum()) == pytest.approx(1, abs=1e-3)
    assert float((found.sum(0) * place**2).sum()) == pytest.approx(4, rel=0.05)
    flat = torch.full((1, 3, 5, 5), 0.3)
    torch.testing.assert_close(Blurring().clean(flat, None, 0), flat)
