"""Swaps within pairs: p-values by enumeration, by scipy, and their size where there is nothing."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from intaglio.metrics.statistics.paired_flips import flipped_p, smallest_p


def test_all_swaps_of_few_pairs_are_counted():
    """Also against scipy, which permutes the two samples within pairs."""
    source = np.random.default_rng(0)
    real, generated = source.random((6, 3)), source.random((6, 3)) + np.array([0.0, 0.3, -0.9])
    expected = []
    for column in (generated - real).T:
        sums = [abs(np.dot(signs, column)) for signs in itertools.product((1, -1), repeat=6)]
        expected.append(np.mean(np.array(sums) >= abs(column.sum()) - 1e-12))
    found = flipped_p(generated - real, 99, 0)
    np.testing.assert_allclose(found, expected)
    theirs = permutation_test(
        (generated, real),
        lambda one, other, axis: (one - other).sum(axis),
        permutation_type="samples",
        vectorized=True,
        axis=0,
    ).pvalue
    np.testing.assert_allclose(found, theirs)
    assert found[2] == pytest.approx(smallest_p(6, 99)) == pytest.approx(2 / 64)


def test_random_swaps_of_many_pairs_come_near_to_the_normal_law():
    """A sum of n equal differences d with k of them turned: the binomial tail of 40 fair coins with 27 or more."""
    differences = np.where(np.arange(40) < 27, 1.0, -1.0)[:, None] * [1.0, 0.0]
    p = flipped_p(differences, 9999, 0)
    assert p[0] == pytest.approx(binomtest(27, 40).pvalue, abs=0.006)
    assert p[1] == 1.0, "a concept that is nowhere"
    assert smallest_p(40, 9999) == 1e-4


def test_where_origins_are_random_p_values_are_no_smaller_than_uniform():
    source = np.random.default_rng(1)
    strengths = source.exponential(size=(50, 400)) * (source.random((50, 400)) < 0.3)
    other = source.exponential(size=(50, 400)) * (source.random((50, 400)) < 0.3)
    p = flipped_p(other - strengths, 999, 2)
    assert [(p <= rate).mean() <= rate + 2 * (rate / 400) ** 0.5 for rate in (0.05, 0.2)] == [True, True]
