import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from intaglio.metrics.statistics.interval import interval


def mean(rows):
    return rows.mean(-1)


def test_the_interval_of_a_mean_is_the_normal_one_of_many_observations():
    data = np.random.default_rng(0).exponential(2, 2000)
    low, high = interval(mean, [data], draws=8000, level=0.9)
    half = norm.ppf(0.95) * data.std() / math.sqrt(2000)
    assert (low, high) == pytest.approx((data.mean() - half, data.mean() + half), abs=0.08 * half)


def test_the_interval_of_a_share_is_that_of_the_binomial():
    data = np.array([1.0] * 6 + [0.0] * 14)
    assert interval(mean, [data], draws=8000) == pytest.approx(tuple(binom.ppf([0.025, 0.975], 20, 0.3) / 20))


def test_samples_are_resampled_apart_and_keep_their_sizes():
    generator, sizes = np.random.default_rng(1), set()
    a, b = generator.normal(0, 1, 400), generator.normal(0, 3, 900)

    def difference(first, second):
        sizes.add((first.shape[1], second.shape[1]))
        return first.mean(-1) - second.mean(-1)

    low, high = interval(difference, [a, b], draws=8000)
    half = 1.96 * math.sqrt(a.var() / 400 + b.var() / 900)
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)
    assert sizes == {(400, 900)}


def test_paired_samples_are_resampled_at_the_same_observations():
    a = np.random.default_rng(2).normal(0, 5, 300)
    b = a + np.random.default_rng(3).normal(1, 1, 300)

    def difference(first, second):
        return second.mean(-1) - first.mean(-1)

    low, high = interval(difference, [a, b], paired=True, draws=8000)
    assert (high - low) / 2 == pytest.approx(1.96 * (b - a).std() / math.sqrt(300), rel=0.05)
    assert interval(difference, [a, a], paired=True) == (0.0, 0.0)
    apart = interval(difference, [a, b], draws=8000)
    assert apart[1] - apart[0] > 4 * (high - low)


def test_it_is_seeded_and_given_in_batches():
    data, rows = np.arange(20.0), []
    first = interval(mean, [data], draws=300, seed=3)
    assert interval(mean, [data], draws=300, seed=3) == first
    assert interval(mean, [data], draws=300, seed=4) != first
    parts = interval(lambda drawn: rows.append(len(drawn)) or mean(drawn), [data], draws=300, seed=3, batch=64)
    assert rows == [64, 64, 64, 64, 44]
    assert parts == first


@pytest.mark.parametrize("paired", [False, True])
def test_one_observation_stays_as_it_is(paired):
    def difference(first, second):
        return second.mean(-1) - first.mean(-1)

    assert interval(mean, [[4.0]], paired=paired) == (4.0, 4.0)
    assert interval(difference, [[4.0], [6.0]], paired=paired) == (2.0, 2.0)


def test_a_sample_of_one_beside_a_larger_one():
    low, high = interval(lambda one, many: many.mean(-1) - one.mean(-1), [[4.0], [6.0, 8.0]], draws=500)
    assert (low, high) == (2.0, 4.0)
