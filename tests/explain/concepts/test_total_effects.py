import numpy as np
import pytest

from intaglio.explain.concepts.concept_codes import code_slopes, nonnegative_codes
from intaglio.explain.concepts.total_effects import total_effects


def test_a_product_of_two_numbers_owes_four_sevenths_to_each():
    found = total_effects(lambda rows: rows[:, 0] * rows[:, 1], 3, 2048, seed=0)
    np.testing.assert_allclose(found, [4 / 7, 4 / 7, 0], atol=0.02)


def test_a_sum_owes_to_each_the_share_of_its_variance():
    weights = np.array([3.0, -1.0, 0.5, 0.0])
    found = total_effects(lambda rows: rows @ weights, 4, 1024, seed=1)
    np.testing.assert_allclose(found, weights**2 / (weights**2).sum(), atol=0.02)


def test_thirty_two_points_rank_twenty_numbers():
    weights = np.linspace(0.2, 3.0, 20)
    found = total_effects(lambda rows: rows @ weights, 20, 32, seed=0)
    ranks = [np.argsort(np.argsort(one)) for one in (found, weights)]
    assert np.corrcoef(*ranks)[0, 1] > 0.9


def test_a_function_that_does_not_move_owes_nothing():
    assert total_effects(lambda rows: np.ones(len(rows)), 3, 8, seed=0).tolist() == [0, 0, 0]


def test_codes_of_mixtures_are_their_shares_and_never_negative():
    source = np.random.default_rng(0)
    bank, shares = source.random((3, 6)), source.random((5, 3))
    np.testing.assert_allclose(nonnegative_codes(shares @ bank, bank), shares, atol=1e-8)
    assert nonnegative_codes(-bank, bank).max() == 0


@pytest.mark.parametrize("seed", range(4))
def test_slopes_of_codes_are_finite_differences(seed):
    source = np.random.default_rng(seed)
    bank, features = source.random((4, 7)), source.random((1, 7))
    code = nonnegative_codes(features, bank)[0]
    slopes = code_slopes(code, bank)
    for place in range(7):
        step = 1e-6 * np.eye(7)[place]
        up, down = (nonnegative_codes(features + sign * step, bank)[0] for sign in (1, -1))
        np.testing.assert_allclose(slopes[:, place], (up - down) / 2e-6, atol=1e-6)
