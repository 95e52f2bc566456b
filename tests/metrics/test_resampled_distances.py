"""Distances of resampled rows, held against those of the rows themselves, and counted out pair by pair."""

import numpy as np
import pytest

from intaglio.metrics.distributions import frechet_distance, kernel_distance
from intaglio.metrics.resampled_distances import resampled_distances

A, B = (np.random.default_rng(seed).standard_normal((rows, 5)) for seed, rows in ((0, 9), (1, 7)))
B = B + 0.5
ONES = np.ones((1, len(A)))


@pytest.mark.parametrize(("distance", "known"), [("kernel", kernel_distance), ("frechet", frechet_distance)])
def test_rows_that_count_once_have_the_distance_itself(distance, known):
    assert resampled_distances(distance, A, B, ONES)[0] == pytest.approx(known(A, B))


def test_the_kernel_distance_pairs_no_row_with_itself():
    counts = np.array([2, 0, 1, 3, 0, 1, 1, 1, 0.0])
    kernel = lambda x, y: (x @ y / 5 + 1) ** 3  # noqa: E731 - the formula as the paper has it
    rows = [i for i, count in enumerate(counts) for _ in range(int(count))]
    within = np.mean([kernel(A[i], A[j]) for i in rows for j in rows if i != j])
    others = np.mean([kernel(x, y) for i, x in enumerate(B) for j, y in enumerate(B) if i != j])
    between = np.mean([kernel(A[i], y) for i in rows for y in B])
    found = resampled_distances("kernel", A, B, np.stack([counts, counts]))
    assert found == pytest.approx(within + others - 2 * between)


def test_resamples_of_the_kernel_distance_lie_around_it():
    """Rows drawn twice would bias it upwards, were they paired with themselves."""
    draws = np.random.default_rng(2).multinomial(len(A), [1 / len(A)] * len(A), 4000).astype(float)
    found = resampled_distances("kernel", A, B, draws)
    assert abs(found.mean() - kernel_distance(A, B)) < 4 * found.std() / len(found) ** 0.5


def test_a_frechet_distance_of_repeated_rows_is_that_of_the_repeated_set():
    counts = np.array([2, 0, 1, 3, 0, 1, 1, 1, 0.0])
    repeated = np.repeat(A, counts.astype(int), 0)
    assert resampled_distances("frechet", A, B, counts[None])[0] == pytest.approx(frechet_distance(repeated, B))
