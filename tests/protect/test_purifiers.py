"""Purifiers by label: size and range stay, the same seed gives the same bits, and labels are those of old."""

import pytest
import torch

from intaglio.protect.purifiers import PURIFIERS
from protect_scenes import levels, model


@pytest.fixture(scope="module")
def net():
    return model()


@pytest.mark.parametrize("label", PURIFIERS)
def test_size_and_range_stay_and_the_same_seed_gives_the_same_bits(label, net):
    purifier, given = PURIFIERS[label], levels()
    assert (purifier.label, purifier.words[0].islower()) == (label, True)
    found = purifier.clean(given, net, 3)
    assert found.shape == given.shape
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert torch.equal(found, purifier.clean(given, net, 3))
    assert torch.equal(found, given) is (label == "none")


def test_labels_that_stored_evaluations_have_are_still_there():
    old = {"none", "jpeg-90", "jpeg-75", "jpeg-50", "resize", "blur", "noise", "tv", "diffuse", "noisy-upscale"}
    assert old < set(PURIFIERS)
    assert {label for label, one in PURIFIERS.items() if one.uses_model} == {"diffuse", "noisy-upscale", "round-trip"}
