import pytest
import torch

from intaglio.metrics.revealing_curves import area_under, first_pixels, pixel_order, revealing_area


def test_pixels_come_the_highest_first_and_equals_in_their_order():
    assert pixel_order(torch.tensor([[1.0, 3.0], [3.0, 2.0]])).tolist() == [1, 2, 3, 0]


def test_masks_grow_by_equal_areas():
    order = torch.randperm(48, generator=torch.Generator().manual_seed(0))
    masks = first_pixels(order, (6, 8), 12)
    assert masks.sum((1, 2)).tolist() == list(range(0, 49, 4))
    assert set(masks[3].flatten().nonzero().flatten().tolist()) == set(order[:12].tolist())


def test_areas_of_a_score_that_counts_shown_pixels_of_a_part():
    """The part's 4 of 16 pixels first: revealed the curve is min(4 x, 1), area 7/8; removed its mirror image."""
    pixels, blank = torch.zeros(3, 4, 4), torch.ones(3, 4, 4)
    map_ = torch.zeros(4, 4)
    map_[0] = 1.0

    def score(pictures):
        return (pictures[:, 0, 0] == 0).float().mean(1)

    order = pixel_order(map_)
    assert revealing_area(score, pixels, blank, order, steps=16) == pytest.approx(7 / 8)
    assert revealing_area(score, pixels, blank, order, removing=True, steps=16) == pytest.approx(1 / 8)
    assert revealing_area(score, pixels, blank, order.flip(0), steps=16) == pytest.approx(1 / 8)


def test_a_trapezoid_by_hand():
    assert area_under(torch.tensor([0.0, 0.25, 1.0]), torch.tensor([0.0, 1.0, 0.5])) == pytest.approx(0.6875)
