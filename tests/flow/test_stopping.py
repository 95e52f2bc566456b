"""The stopping rules, on numbers worked out by hand."""

import pytest
import torch

from intaglio.flow.iterate.stopping import Stopping

V = torch.full((2, 3, 2), 2.0)


def done_after(rule, tolerance, *deltas, clamped=None):
    """The verdict after sweeps that changed every number of two pictures by so much."""
    stopping = Stopping.of(rule, tolerance, V)
    for delta in deltas:
        change = torch.tensor(delta)[:, None, None].expand(2, 2, 2)
        verdict = stopping.done(torch.full((2, 2, 2), 4.0), change, clamped)
    return verdict.tolist()


def test_change_is_the_largest_one_of_each_picture():
    assert done_after("change", 0.5, (0.4, -0.6)) == [True, False]
    assert done_after("change", 0.5, (0.5, 0.0)) == [False, True]


def test_mean_change_is_the_norm_over_the_width_of_a_patch():
    # ||delta|| = sqrt(4 * 0.04) = 0.4, C = 2
    assert done_after("mean-change", 0.2001, (0.2, 0.3)) == [True, False]


def test_relative_is_the_share_of_the_mean_square():
    assert done_after("relative", 0.011, (0.4, 0.5)) == [True, False]  # 0.16 / 16 and 0.25 / 16


def test_exact_waits_for_no_change_at_all():
    assert done_after("exact", 0.0, (0.0, 1e-38)) == [True, False]


def test_the_estimate_sums_the_geometric_tail_in_root_mean_squares():
    # q = 0.5 and 0.25; errors 0.5 / 0.5 * 0.01 and 0.25 / 0.75 * 0.01; scale 2
    assert done_after("estimate", 0.0051, (0.02, 0.04), (0.01, 0.01)) == [True, True]
    assert done_after("estimate", 0.0049, (0.02, 0.04), (0.01, 0.009)) == [False, True]


def test_the_estimate_trusts_no_slow_decay_and_no_first_sweep():
    assert done_after("estimate", 1.0, (0.001, 0.001)) == [False, False]
    assert done_after("estimate", 1.0, (0.001, 0.001), (0.00095, 0.0001)) == [False, True]
    # the worst of the last three ratios counts
    assert done_after("estimate", 1.0, (0.1, 1.0), (0.2, 0.1), (0.01, 0.01), (0.001, 0.001)) == [False, True]
    assert done_after("estimate", 1.0, (0.1, 0.1), (0.0, 0.2)) == [True, False]


@pytest.mark.parametrize("rule", ["change", "estimate", "mean-change", "relative"])
def test_a_picture_with_a_clamped_patch_goes_on(rule):
    clamped = torch.tensor([[False, True], [False, False]])
    assert done_after(rule, 10.0, (0.4, 0.4), (0.1, 0.1), clamped=clamped) == [False, True]


def test_coarse_changes_that_no_longer_fall_are_noticed():
    stopping = Stopping.of("change", 1e-9, V)

    def swept(*changes):
        stopping.done(V[:, 1:], torch.tensor(changes)[:, None, None].expand(2, 2, 2), None)
        return stopping.stalled()

    assert [swept(c, c) for c in (1.0, 0.1, 0.01, 0.0099, 0.0098)] == [False] * 5
    assert not swept(0.0097, 0.001)
    assert not swept(0.0097, 0.001)
    assert not swept(0.0097, 0.001)
    assert swept(0.0097, 0.001)


def test_pictures_that_leave_take_their_history_along():
    stopping = Stopping.of("estimate", 1.0, V)
    for changes in ((1.0, 0.4), (0.5, 0.1)):
        stopping.done(V[:, 1:], torch.tensor(changes)[:, None, None].expand(2, 2, 2), None)
    stopping.keep(torch.tensor([1]))
    assert stopping.estimate().tolist() == pytest.approx([0.25 / 0.75 * 0.1])
