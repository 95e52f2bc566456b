"""Copies and their measures, by hand."""

import numpy as np
import pytest
import torch

from intaglio.explain.sharpening.changed_copies import changed_copies
from intaglio.explain.sharpening.copy_checks import (
    average_precision,
    copy_scores,
    drawn_distances,
    found_among_twins,
    line_up,
)
from sharpening_scenes import blue_pictures


def test_copies_are_of_their_picture_whatever_the_batch():
    images, _, _ = blue_pictures(4)
    whole = changed_copies(images.pixels, images.hashes, 3, 0)
    assert whole.shape == (4, 3, 3, 16, 16)
    one = images[[2]]
    assert torch.equal(changed_copies(one.pixels, one.hashes, 2, 0)[0], whole[2, :2])
    assert 0 <= float(whole.min()) <= float(whole.max()) <= 1
    assert not torch.equal(whole[0, 0], whole[0, 1])
    assert not torch.equal(changed_copies(images.pixels, images.hashes, 1, 1)[:, 0], whole[:, 0])
    own = (whole - images.pixels[:, None]).square().mean((2, 3, 4))
    other = (whole - images.pixels.roll(1, 0)[:, None]).square().mean((2, 3, 4))
    assert float(own.mean()) < float(other.mean())


def test_distance_of_a_mirrored_picture_is_0_and_that_of_apart_ink_by_hand():
    pixels = torch.ones(3, 3, 4, 4)
    pixels[0, :, :, :1] = 0
    pixels[1, :, :, 3:] = 0
    pixels[2, :, :, 1:3] = 0
    found = drawn_distances(pixels[:1], pixels)[0].tolist()
    assert found[:2] == pytest.approx([0, 0], abs=1e-3)
    assert found[2] == pytest.approx((12 + 24) ** 0.5 / (12 * 24) ** 0.25, rel=1e-5)


def test_a_line_up_has_the_original_its_twins_and_others_but_not_the_same_drawing():
    ink = torch.zeros(8, 3, 4, 4)
    for k in range(8):
        ink[k, :, k % 4, :] = 0.5
    ink[4:] *= 1.2  # twins of the first four by the row
    ink[7] = ink[3].flip(-1)  # one drawing
    held = torch.tensor([0, 3])
    found = line_up(1 - ink, held, 0)
    assert found[:, 0].tolist() == [0, 3]
    assert int(found[0, 1]) == 4
    assert len(set(found[0].tolist())) == found.shape[1]
    assert 7 not in found[1, 1:3].tolist()


def test_scores_by_hand():
    every = torch.eye(4)
    copies = torch.tensor([[[0.8, 0.6, 0.0, 0.0], [0.6, 0.8, 0.0, 0.0]], [[0.0, 0.0, 1.0, 0.0], [0.0, 0.6, 0.8, 0.0]]])
    shown = torch.tensor([[0, 1, 3], [2, 1, 0]])
    found = copy_scores(copies, every, shown)
    assert found.own.tolist() == [pytest.approx([0.8, 0.6]), pytest.approx([1.0, 0.8])]
    assert found.twins[0].tolist() == [pytest.approx([0.6, 0]), pytest.approx([0.8, 0])]
    assert found.hits.tolist() == [[True, False], [True, True]]
    # Pairs from the nearest on: 1.0 right, 0.8 right, 0.8 wrong (a tie goes by place), 0.8 right, then 0.6 right
    scores = np.array([[[0.9, 0.5, 0.1], [0.6, 0.7, 0.2]]])
    assert average_precision(scores) == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_found_among_twins_counts_copies_above_all_but_one_percent_of_twins():
    twins = np.linspace(0, 1, 200).reshape(100, 1, 2)
    own = np.full((100, 1), 0.985)
    own[:30] = 0.995
    assert float(found_among_twins(own, twins)) == pytest.approx(0.3)
    both = found_among_twins(np.stack([own, own + 1]), np.stack([twins, twins]))
    assert both.tolist() == pytest.approx([0.3, 1.0])
