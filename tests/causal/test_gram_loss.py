"""The loss of a linear ADMG from the covariance, against regressions on rows and finite differences."""

import numpy as np
import pytest
import torch

from intaglio.causal.confounding.gram_loss import (
    LEAST_EIGENVALUE,
    error_precision,
    least_squares,
    least_squares_gradients,
    residual_gram,
)


def parameters(seed: int, d: int = 5, n: int = 60):
    random = np.random.default_rng(seed)
    rows = random.standard_normal((n, d)) @ random.standard_normal((d, d))
    rows -= rows.mean(0)
    arrows, before = random.uniform(-0.6, 0.6, (2, d, d)) * (1 - np.eye(d))
    doubles = np.tril(random.uniform(-0.2, 0.2, (d, d)), -1)
    other = np.tril(random.uniform(-0.2, 0.2, (d, d)), -1)
    errors = other + other.T + np.diag(random.uniform(1.0, 2.0, d))
    return rows, arrows, doubles + doubles.T, before, errors


def by_rows(rows, arrows, doubles, before, errors) -> float:
    """A regression a variable, each with its own inverse and its own array of pseudo-variables."""
    n, d = rows.shape
    noise, total = rows - rows @ before, 0.0
    for i in range(d):
        others = [j for j in range(d) if j != i]
        pseudo = np.zeros((n, d))
        pseudo[:, others] = noise[:, others] @ np.linalg.inv(errors[np.ix_(others, others)])
        total += ((rows[:, i] - rows @ arrows[:, i] - pseudo @ doubles[:, i]) ** 2).sum() / (2 * n)
    return total


def tensors(*arrays):
    return [torch.from_numpy(np.array(array))[None] for array in arrays]


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_that_of_the_regressions_on_rows(seed):
    rows, arrows, doubles, before, errors = parameters(seed)
    covariance = rows.T @ rows / len(rows)
    given = tensors(covariance, arrows, doubles, before, np.linalg.inv(errors))
    assert float(least_squares(*given)) == pytest.approx(by_rows(rows, arrows, doubles, before, errors), rel=1e-10)
    assert float(least_squares_gradients(*given)[0]) == pytest.approx(float(least_squares(*given)), rel=1e-14)


def test_the_gradients_are_the_finite_differences():
    rows, arrows, doubles, before, errors = parameters(7)
    covariance, precision = rows.T @ rows / len(rows), np.linalg.inv(errors)

    def loss(b, w):
        return float(least_squares(*tensors(covariance, b, w, before, precision)))

    _, by_arrows, by_doubles = least_squares_gradients(*tensors(covariance, arrows, doubles, before, precision))
    for i, j in np.argwhere(~np.eye(5, dtype=bool)):
        step = np.zeros((5, 5))
        step[i, j] = 1e-6
        change = (loss(arrows + step, doubles) - loss(arrows - step, doubles)) / 2e-6
        assert float(by_arrows[0, i, j]) == pytest.approx(change, rel=1e-5, abs=1e-7)
        change = (loss(arrows, doubles + step) - loss(arrows, doubles - step)) / 2e-6
        assert float(by_doubles[0, i, j]) == pytest.approx(change, rel=1e-5, abs=1e-7)


def test_errors_that_are_not_positive_definite_are_shrunk_until_they_are():
    doubles = torch.tensor([[[0.0, 2.0], [2.0, 0.0]], [[0.0, 0.5], [0.5, 0.0]]], dtype=torch.float64)
    found = torch.linalg.inv(error_precision(doubles, torch.ones(2, 2, dtype=torch.float64)))
    assert torch.linalg.eigvalsh(found[0])[0] == pytest.approx(LEAST_EIGENVALUE)
    torch.testing.assert_close(found[1], doubles[1] + torch.eye(2, dtype=torch.float64))


def test_the_gram_matrix_of_residuals_is_that_of_the_rows():
    rows, arrows, *_ = parameters(3)
    left = rows - rows @ arrows
    found = residual_gram(*tensors(rows.T @ rows / len(rows), arrows))
    assert np.allclose(found[0].numpy(), left.T @ left / len(rows))
