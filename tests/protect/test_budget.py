"""Budgets: projection and rounding never exceed them, by a single grey level, whatever the change."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.protect.budget import Allowance, check_budget, largest_difference


def allowance(seed, budget, share=1.0, grey=()):
    source = torch.Generator().manual_seed(seed)
    clean = torch.randint(0, 256, (2, 3, 5, 7), generator=source) / 255
    clean[0, :, 0], clean[0, :, 1] = 0.0, 1.0  # black and white leave half of the box
    return Allowance(clean, torch.full((2, 1, 5, 7), share), budget, grey)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 64), st.floats(0, 1), st.integers(0, 2**31), st.floats(0.01, 3))
def test_no_picture_exceeds_its_budget_by_a_single_grey_level(budget, share, seed, size):
    box = allowance(seed, budget, share)
    change = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(seed + 1)) * size
    clean = (box.clean * 255).round().to(torch.uint8)
    for given_change in (box.projected(change), change):  # rounding holds the budget by itself
        found = box.rounded(given_change)
        assert largest_difference(found.numpy(), clean.numpy()) <= budget * share + 1e-4
    assert float((box.clean + box.projected(change)).min()) >= 0
    assert float((box.clean + box.projected(change)).max()) <= 1


def test_the_whole_budget_is_used_where_it_is_a_whole_number():
    box = allowance(0, 8.0)
    up = box.rounded(box.projected(torch.ones(2, 3, 5, 7)))
    inside = (box.clean * 255).round() <= 247
    assert (up.float() - (box.clean * 255).round())[inside].eq(8).all()
    # 16 and 1 of the published code are 16 and 1 grey levels; 0.05 on [-1, 1] is 6.375 of them
    assert pytest.approx(6.375) == 0.05 * 255 / 2


def test_a_fraction_of_a_level_is_cut_off_not_rounded():
    box = allowance(0, 7.65)
    found = box.rounded(box.projected(torch.ones(2, 3, 5, 7)))
    assert largest_difference(found.numpy(), (box.clean * 255).round().to(torch.uint8).numpy()) == 7


def test_the_box_of_one_picture_has_its_own_share():
    share = torch.stack([torch.zeros(1, 5, 7), torch.ones(1, 5, 7)])
    both = allowance(1, 8.0)
    box = Allowance(both.clean, share, 8.0, (True, False))
    for row in range(2):
        one = box.of(row)
        assert torch.equal(one.clean[0], box.clean[row])
        assert torch.equal(one.share[0], share[row])
        assert one.grey == (row == 0,)


def test_no_change_gives_the_same_bytes():
    box = allowance(3, 8.0)
    assert torch.equal(box.rounded(torch.zeros(2, 3, 5, 7)), (box.clean * 255).round().to(torch.uint8))
    nothing = allowance(3, 0.0)
    assert torch.equal(
        nothing.rounded(nothing.projected(torch.ones(2, 3, 5, 7))), (box.clean * 255).round().to(torch.uint8)
    )


def test_a_grey_picture_stays_grey():
    box = allowance(0, 8.0, grey=(True, False))
    change = box.projected(torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(1)) * 0.01)
    change[0] = change[0].clone()
    assert torch.equal(change[0, 0, 3:], change[0, 1, 3:]) or not torch.equal(box.clean[0, 0], box.clean[0, 1])
    even = Allowance(box.clean[:, :1].expand(-1, 3, -1, -1), box.share, 8.0, (True, True))
    found = even.rounded(even.projected(torch.randn(2, 3, 5, 7)))
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, 0], found[:, 2])


def test_differences_of_bytes_do_not_wrap_around():
    assert largest_difference(np.array([0, 250], np.uint8), np.array([255, 0], np.uint8)) == 255
    assert largest_difference(np.zeros(0, np.uint8), np.zeros(0, np.uint8)) == 0


@pytest.mark.parametrize(
    ("budget", "step", "word"),
    [(-1, 1, "budget"), (65, 1, "budget"), (float("nan"), 1, "budget"), (8, 0, "step"), (8, 65, "step")],
)
def test_budgets_and_steps_out_of_range_are_refused(budget, step, word):
    with pytest.raises(ValueError, match=f"{word} must"):
        check_budget(float(budget), float(step))
    check_budget(0.0, 1.0)
    check_budget(64.0, 64.0)
