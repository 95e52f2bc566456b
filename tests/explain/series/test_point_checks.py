"""Checks of importances: by a classifier whose rule is known, and by hand."""

import numpy as np
import pytest
import torch

from intaglio.explain.series.point_checks import (
    SHARES,
    SwappedTimes,
    area,
    log_odds,
    partners_of,
    removal_curves,
    swapped_times,
)
from intaglio.explain.series.taught_series import SeriesLessons
from series_scenes import CHANNEL, TIME, small


def by_point(values):
    """Logits of a classifier that goes by one point alone."""
    return torch.stack([values[:, TIME, CHANNEL], -values[:, TIME, CHANNEL]], 1)


def scene():
    series = small(40)
    lessons = SeriesLessons.of(series.values, series.codes, 2)
    return lessons, lessons.values, by_point(lessons.values).argmax(1)


def test_the_scale_is_that_of_each_channel():
    lessons, values, _ = scene()
    assert values.flatten(0, 1).mean(0).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert values.flatten(0, 1).std(0).tolist() == pytest.approx([1, 1], rel=1e-5)
    assert torch.equal(lessons.scaled(small(40).values), values)


def test_replacements_have_the_mean_and_deviation_of_their_point():
    lessons, values, _ = scene()
    drawn = lessons.replacements(20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), values.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.std(0), values.std(0), atol=0.03, rtol=0)


def test_the_class_is_lost_at_once_where_its_point_comes_first_and_at_the_end_where_it_comes_last():
    lessons, values, called = scene()
    right = torch.zeros_like(values)
    right[:, TIME, CHANNEL] = 1
    first = removal_curves(by_point, lessons, values, right, called, 50, 0)
    last = removal_curves(by_point, lessons, values, -right, called, 50, 0)
    whole = by_point(values).softmax(1).gather(1, called[:, None])[:, 0].numpy()
    assert first[:, 0] == pytest.approx(whole)
    assert first[:, 1] == pytest.approx(first[:, -1])  # one of ten points is the first tenth
    assert last[:, -2] == pytest.approx(whole)
    assert last[:, -1] == pytest.approx(first[:, -1])
    assert area(first).mean() < area(last).mean() - 0.2


def test_area_is_by_trapezoids():
    curve = np.array([[1 - share for share in SHARES]])
    assert area(curve) == pytest.approx([0.5])


@pytest.mark.parametrize(("window", "times"), [(1, {1}), (2, {0, 1}), (3, {0, 1, 2})])
def test_swaps_matter_where_they_take_the_point_along(window, times):
    _, values, called = scene()
    found = swapped_times(by_point, values, called, partners_of(called, 0), window)
    matter = found.flips.mean(0) > 0.9
    assert {int(t) for t in np.flatnonzero(matter)} == times
    assert (found.effects[:, ~matter] == 0).all()
    assert (found.effects[:, matter] > 0).all()


def test_partners_are_called_another_class():
    called = torch.tensor([0, 0, 1, 2, 1, 0])
    partners = partners_of(called, 3)
    assert bool((called[partners] != called).all())


def test_ranks_and_areas_by_hand():
    effects = np.array([[0.0, 1.0, 2.0], [3.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    flips = np.array([[False, True, True], [True, False, False], [False, False, False]])
    swaps = SwappedTimes(effects, flips)
    importances = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    assert swaps.ranks(importances).tolist() == pytest.approx([1, -1, 0])
    assert swaps.told(importances) == pytest.approx((1 + 0) / 2)
    assert SwappedTimes(effects, np.zeros((3, 3), bool)).told(importances) is None


def test_log_odds_are_of_the_class_against_all_others():
    chances = torch.tensor([[0.2, 0.5, 0.3]])
    assert float(log_odds(chances.log(), torch.tensor([1]))) == pytest.approx(0, abs=1e-6)
    assert float(log_odds(chances.log(), torch.tensor([0]))) == pytest.approx(np.log(0.25))
