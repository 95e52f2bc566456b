"""Rank-weighted effects against closed forms, brute force, and their coverage."""

import numpy as np
import pytest

from intaglio.causal.cate.rank_weighted import Estimate, autoc, qini, rank_weighted, toc


def test_uniform_effects_ranked_perfectly_have_a_quarter_and_a_twelfth():
    effects = np.linspace(0, 1, 20_001)
    assert autoc(effects, effects) == pytest.approx(1 / 4, abs=1e-3)
    assert qini(effects, effects) == pytest.approx(1 / 12, abs=1e-3)
    assert autoc(-effects, effects) == pytest.approx(-1 / 4, abs=1e-3)


def test_the_curve_by_hand_and_units_of_one_priority_count_as_their_mean():
    scores = np.array([1.0, 5, 0, 2])
    np.testing.assert_allclose(toc(np.array([3.0, 9, 1, 2]), scores), [3, 1, 2 / 3, 0])
    np.testing.assert_allclose(toc(np.array([7.0, 7, 1, 1]), scores), [1, 1, 1 / 3, 0])
    assert autoc(np.ones(4), scores) == 0


def test_the_error_over_halves_is_that_of_a_new_sample():
    source = np.random.default_rng(0)

    def drawn():
        priority = source.standard_normal(400)
        return priority, priority + source.standard_normal(400)

    found = [autoc(*drawn()) for _ in range(400)]
    estimate, _ = rank_weighted(*drawn(), resamples=400, seed=0)
    assert estimate.error == pytest.approx(np.std(found), rel=0.2)


def test_of_effects_that_do_not_differ_one_in_twenty_is_called_different():
    source = np.random.default_rng(1)
    calls = [
        rank_weighted(source.standard_normal(60), source.standard_normal(60), resamples=40, seed=k)[0].p < 0.05
        for k in range(60)
    ]
    assert np.mean(calls) <= 0.15


def test_the_interval_is_that_of_the_normal_distribution():
    assert Estimate(1.0, 2.0).interval == pytest.approx((1 - 3.919928, 1 + 3.919928))
    assert Estimate(3.289707, 2.0).p == pytest.approx(0.05, abs=1e-6)
    assert (Estimate(0.0, 0.0).p, Estimate(1.0, 0.0).p) == (1, 0)
