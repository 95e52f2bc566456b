"""The interval of a mean by Student's distribution: a table's value by hand, and its coverage."""

import numpy as np
import pytest

from intaglio.metrics.statistics.mean_interval import mean_interval


def test_four_numbers_by_hand():
    low, high = mean_interval([1.0, 2.0, 3.0, 4.0])
    half = 3.182446305 * (5 / 3) ** 0.5 / 2  # t of 3 degrees of freedom at 97.5%
    assert (low, high) == pytest.approx((2.5 - half, 2.5 + half))


def test_it_covers_the_mean_as_often_as_asked():
    drawn = np.random.default_rng(0).normal(3, 2, (2000, 5))
    bounds = np.array([mean_interval(row.tolist(), 0.9) for row in drawn])
    assert np.mean((bounds[:, 0] <= 3) & (bounds[:, 1] >= 3)) == pytest.approx(0.9, abs=0.02)
