"""Ridge world: theta = (X^T X + d I)^-1 X^T y, where every influence is known in closed form."""

import pytest
import torch

from intaglio.audit.influence.damped_regression import damped_weights, relative_damping
from intaglio.errors import IntaglioError

RANDOM = torch.Generator().manual_seed(0)


def normal(*shape):
    return torch.randn(*shape, generator=RANDOM, dtype=torch.float64)


@pytest.mark.parametrize(("rows", "width"), [(30, 5), (6, 11)])
def test_removing_a_row_of_a_ridge_regression_changes_a_prediction_by_its_number_over_one_less_its_leverage(
    rows, width
):
    x, y, asked, damping = normal(rows, width), normal(rows), normal(4, width), 0.7

    def fitted(left):
        return torch.linalg.solve(x[left].T @ x[left] + damping * torch.eye(width, dtype=x.dtype), x[left].T @ y[left])

    theta = fitted(list(range(rows)))
    slopes = x @ theta - y  # of (f - y)^2 / 2 by f
    first = damped_weights(asked, x, damping, slopes)
    leverages = damped_weights(x, x, damping).diagonal()
    for i in range(rows):
        exact = asked @ (fitted([j for j in range(rows) if j != i]) - theta)
        torch.testing.assert_close(first[:, i] / (1 - leverages[i]), exact, rtol=1e-9, atol=1e-12)


def test_a_number_is_the_weight_of_a_row_in_the_regression_of_a_query_on_all_rows():
    phi, asked, damping = normal(7, 20), normal(3, 20), 0.2
    weights = damped_weights(asked, phi, damping).requires_grad_()
    loss = (asked - weights @ phi).square().sum() + damping * weights.square().sum()
    (gradient,) = torch.autograd.grad(loss, weights)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


def test_the_damping_is_a_share_of_the_mean_eigenvalue():
    phi = normal(7, 20)
    expected = 0.3 * torch.linalg.eigvalsh(phi @ phi.T).mean()
    assert relative_damping(phi, 0.3) == pytest.approx(float(expected))
    with pytest.raises(IntaglioError, match="every gradient is zero"):
        relative_damping(torch.zeros(3, 4, dtype=torch.float64), 0.3)
