"""Post-processing: each change keeps size and range, and draws of one picture do not depend on another's."""

import pytest
import torch

from intaglio.audit.attribution.post_processing import CHANGES, post_processed

PIXELS = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def source():
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_keeps_the_size_and_does_more_at_another_strength(name):
    one = PIXELS[[0]]
    weak, strong = (CHANGES[name](one, strength) for strength in (0.1, 0.9))
    assert weak.shape == strong.shape == one.shape
    assert not torch.equal(weak, one)
    assert torch.equal(weak, strong) is (name == "grey")
    assert torch.isfinite(strong).all()


def test_about_the_share_is_changed_and_the_rest_left_to_the_bit():
    many = PIXELS[[0]].expand(400, 3, 16, 16)
    kept = (post_processed(many, 0.3, source()) == many).flatten(1).all(1)
    assert 0.6 < kept.double().mean() < 0.8
    assert torch.equal(post_processed(PIXELS, 0.0, source()), PIXELS)
    changed = post_processed(PIXELS, 1.0, source())
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal((changed * 255).round() / 255, changed)


def test_the_draws_of_a_picture_are_its_own():
    whole = post_processed(PIXELS, 0.7, source())
    other = PIXELS.clone()
    other[0] = 0.5
    assert torch.equal(post_processed(other, 0.7, source())[1:], whole[1:])
    assert torch.equal(post_processed(PIXELS[:4], 0.7, source()), whole[:4])
