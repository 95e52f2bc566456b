"""noise: of its deviation, and of its seed."""

import pytest
import torch

from intaglio.protect.purify.methods.noise import AddedNoise

SMALL = {"deviation": 0.1}
BAD = {"deviation": -0.1}
PIECES = {}


def test_noise_has_its_deviation_and_another_seed_another_noise():
    grey = torch.full((1, 3, 64, 64), 0.5)
    found = AddedNoise().clean(grey, None, 0) - 0.5
    assert float(found.std()) == pytest.approx(0.05, rel=0.03)
    assert not torch.equal(found, AddedNoise().clean(grey, None, 1) - 0.5)
