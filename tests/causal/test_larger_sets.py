"""Severities given large sets, against the inverse of the correlations of each set by itself."""

import numpy as np
import pytest

from intaglio.causal.methods.spot.larger_sets import severities_given_all, severities_given_neighbours


def correlation_of(d: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.corrcoef((random.standard_normal((80, d)) @ random.standard_normal((d, d))).T)


def severity(correlation, rows: int, i: int, j: int, given: list[int]) -> float:
    inside = [i, j, *given]
    inverse = np.linalg.inv(correlation[np.ix_(inside, inside)])
    partial = -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1])
    return abs(np.arctanh(partial)) * np.sqrt(rows - len(given) - 3)


@pytest.mark.parametrize("seed", range(3))
def test_given_neighbours_it_is_the_partial_correlation_given_them_without_the_pair(seed):
    d, rows = 9, 60
    correlation, random = correlation_of(d, seed), np.random.default_rng(seed)
    upper = np.triu(random.random((d, d)) < (0.2, 0.5, 1.0)[seed], 1)
    neighbours = upper | upper.T
    found = severities_given_neighbours(correlation, rows, neighbours)
    for i in range(d):
        for j in set(range(d)) - {i}:
            given = sorted(set(np.flatnonzero(neighbours[i]).tolist()) - {j})
            assert found[i, j] == pytest.approx(severity(correlation, rows, i, j, given), rel=1e-6)
    assert np.isnan(found.diagonal()).all()


def test_given_all_others_it_is_the_partial_correlation_of_the_whole_matrix():
    d, rows = 7, 40
    correlation = correlation_of(d)
    found = severities_given_all(correlation, rows)
    for i in range(d):
        for j in set(range(d)) - {i}:
            given = sorted(set(range(d)) - {i, j})
            assert found[i, j] == pytest.approx(severity(correlation, rows, i, j, given), rel=1e-6)
    assert found == pytest.approx(found.T, rel=1e-9, nan_ok=True)


def test_a_child_of_many_parents_is_separated_given_them_alone():
    """x1 ... x6 → y → z: z and x1 are independent given y, a neighbour of both, and dependent without it."""
    d, weights = 8, np.full(6, 0.5)
    arrows = np.zeros((d, d))
    arrows[:6, 6], arrows[6, 7] = weights, 0.8
    inverse = np.linalg.inv(np.eye(d) - arrows)
    covariance = inverse.T @ inverse
    correlation = covariance / np.sqrt(np.outer(covariance.diagonal(), covariance.diagonal()))
    neighbours = (arrows != 0) | (arrows != 0).T
    found = severities_given_neighbours(correlation, 1000, neighbours)
    assert found[7, 0] < 1e-6 < 5 < found[6, 0]
    assert found[0, 7] < 1e-6


def test_too_few_rows_for_a_set_leave_its_pairs_missing():
    d = 8
    correlation, everyone = correlation_of(d), ~np.eye(d, dtype=bool)
    assert np.isnan(severities_given_all(correlation, d - 2 + 3)).all()
    assert np.isfinite(severities_given_all(correlation, d - 2 + 4)).sum() == d * (d - 1)
    assert np.isnan(severities_given_neighbours(correlation, 9, everyone)).all()
    few = everyone.copy()
    few[0, 3:] = few[3:, 0] = False  # two neighbours of the first: sets of one and of two
    found = severities_given_neighbours(correlation, 5, few)
    assert np.isfinite(found[0, 1:]).sum() == 2
    assert np.isnan(found[1:]).all()


def test_variables_that_are_all_but_equal_leave_numbers():
    copied = np.column_stack([np.random.default_rng(0).standard_normal((50, 3))])
    correlation = np.corrcoef(np.column_stack([copied, copied[:, 0] + copied[:, 1]]).T)
    others = ~np.eye(4, dtype=bool)
    assert np.isfinite(severities_given_all(correlation, 50)[others]).all()
    assert np.isfinite(severities_given_neighbours(correlation, 50, others)[others]).all()
