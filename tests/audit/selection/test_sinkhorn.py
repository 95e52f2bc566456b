import pytest
import torch
from scipy.optimize import linear_sum_assignment

from intaglio.audit.selection.sinkhorn import transport
from intaglio.errors import IntaglioError


def test_on_a_line_it_is_sorted_matching():
    draws = torch.Generator().manual_seed(0)
    a, b = (torch.randn(7, generator=draws, dtype=torch.float64) for _ in range(2))
    cost, plan = transport((a[:, None] - b[None]).abs(), 1e-3)
    assert cost == pytest.approx(float((a.sort().values - b.sort().values).abs().mean()), abs=5e-3)
    torch.testing.assert_close(plan.sum(0), torch.full((7,), 1 / 7, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(1), torch.full((7,), 1 / 7, dtype=torch.float64), rtol=1e-6, atol=1e-8)


def test_with_little_blur_it_is_the_best_assignment_and_with_much_the_mean():
    costs = torch.rand(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows, columns = linear_sum_assignment(costs.numpy())
    assert transport(costs, 1e-3)[0] == pytest.approx(float(costs[rows, columns].mean()), abs=2e-3)
    assert transport(costs, 1e4)[0] == pytest.approx(float(costs.mean()), rel=1e-3)


def test_the_plan_has_the_weights_of_both_sides_and_what_does_not_settle_is_told(monkeypatch):
    draws = torch.Generator().manual_seed(4)
    costs = torch.rand(9, 14, generator=draws, dtype=torch.float64).square()
    _, plan = transport(costs, 0.05)
    assert float((plan.sum(1) - 1 / 9).abs().sum()) < 1e-6
    assert float((plan.sum(0) - 1 / 14).abs().max()) < 1e-12
    kernel = torch.log(plan) + costs / 0.05  # of the form f + g, whatever the sums
    torch.testing.assert_close(
        kernel - kernel[:1] - kernel[:, :1] + kernel[0, 0], torch.zeros_like(kernel), atol=1e-8, rtol=0
    )
    monkeypatch.setattr("intaglio.audit.selection.sinkhorn.ROUNDS", 1)
    with pytest.raises(IntaglioError, match="did not settle in 1 rounds; take a larger blur than 0.05"):
        transport(costs, 0.05)


def test_sets_of_other_sizes_and_no_cost_at_all():
    cost, plan = transport(torch.tensor([[0.0, 1.0]], dtype=torch.float64), 0.01)
    assert cost == pytest.approx(0.5)
    assert plan.shape == (1, 2)
    assert transport(torch.zeros(3, 2, dtype=torch.float64), 0.01)[0] == 0
