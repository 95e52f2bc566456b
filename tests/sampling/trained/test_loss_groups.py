from itertools import product

import pytest
import torch

from intaglio.sampling.trained.loss_groups import group_means, group_risk, group_spread, loss_groups


def found(losses, count=2, epochs=500, balance=0.0, seed=0):
    given = torch.as_tensor(losses, dtype=torch.float32)
    return loss_groups(given, count, epochs=epochs, rate=0.01, balance=balance, seed=seed)


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("seed", range(4))
def test_two_levels_of_loss_are_split_by_level(seed):
    high = torch.arange(30) % 3 == 0
    weights = found(torch.where(high, 0.12, 0.1), seed=seed)
    own = weights[high].mean(0).argmax()
    assert torch.all(weights[high, own] > 0.999)
    assert torch.all(weights[~high, 1 - own] > 0.999)


@pytest.mark.parametrize("seed", range(4))
def test_the_groups_of_a_few_pictures_are_the_best_of_all_assignments(seed):
    losses = torch.tensor([0.0, 1.1, 0.1, 1.0, 0.2, 1.2], dtype=torch.float64)
    every = [torch.tensor(row) for row in product((0, 1), repeat=6) if 0 < sum(row) < 6]
    best = max(every, key=lambda row: float(abs(losses[row == 0].mean() - losses[row == 1].mean())))
    own = found(losses, seed=seed).argmax(1)
    assert torch.equal(own, best) or torch.equal(own, 1 - best)
    assert float(group_spread(losses, found(losses, seed=seed))) == pytest.approx(0.5, abs=1e-3)


def test_rows_stay_on_the_simplex_whatever_the_number_of_groups():
    weights = found(drawn(12), count=5, epochs=60)
    assert weights.shape == (12, 5)
    assert torch.all(weights >= 0)
    assert torch.allclose(weights.sum(1), torch.ones(12, dtype=torch.float64))


def test_scale_and_offset_of_the_losses_make_no_difference():
    losses = drawn(12)
    assert torch.allclose(found(losses, epochs=50), found(0.01 * losses + 3.0, epochs=50), atol=1e-3)


def test_losses_that_are_alike_are_left_in_the_groups_of_the_beginning():
    alike = torch.full((9,), 0.3)
    assert torch.equal(found(alike, epochs=50), found(alike, epochs=1))
    assert torch.equal(found(alike + 1e-9 * drawn(9), epochs=50), found(alike, epochs=1))
    assert not torch.equal(found(alike), found(alike, seed=1))


def test_the_weight_of_the_smallest_share_keeps_groups_from_dying():
    """A picture far from all others is the best group of the spread alone: 4.13 / 2 in deviations of the losses."""
    losses = 0.01 * drawn(16)
    losses[5] = 10.0
    alone, even = found(losses).mean(0).min(), found(losses, balance=20.0).mean(0).min()
    assert float(alone) < 0.1
    assert float(even) > 0.4


def test_the_spread_is_the_formula_written_out_and_so_is_its_gradient():
    losses, weights = drawn(7), drawn(7, 3, seed=1)
    weights = weights / weights.sum(1, keepdim=True)
    means = [float((weights[:, g] * losses).sum() / weights[:, g].sum()) for g in range(3)]
    middle, total = sum(means) / 3, weights.detach().sum(0)
    deviation = (sum((m - middle) ** 2 for m in means) / 3) ** 0.5
    smallest = min(range(3), key=lambda g: float(weights[:, g].sum()))
    weights.requires_grad_(True)
    value = group_spread(losses, weights, 0.7)
    assert float(value.detach()) == pytest.approx(deviation + 0.7 * float(total[smallest]) / 7)
    (gradient,) = torch.autograd.grad(value, weights)
    for i, g in product(range(7), range(3)):
        of_mean = float((losses[i] - means[g]) / total[g])
        exact = of_mean * (means[g] - middle) / (3 * deviation) + (0.7 / 7 if g == smallest else 0.0)
        assert float(gradient[i, g]) == pytest.approx(exact, abs=1e-9)


def test_the_risk_and_its_gradient_are_the_formulas_written_out():
    errors, weights = drawn(6).requires_grad_(True), drawn(6, 3, seed=2)
    mean, variance = group_risk(errors, weights)
    (gradient,) = torch.autograd.grad(mean + 5.0 * variance, errors)
    total = weights.sum(0)
    of_groups = [float((weights[:, g] * errors.detach()).sum() / total[g]) for g in range(3)]
    middle = sum(of_groups) / 3
    assert float(mean.detach()) == pytest.approx(middle)
    assert float(variance.detach()) == pytest.approx(sum((m - middle) ** 2 for m in of_groups) / 3)
    for i in range(6):
        exact = sum((1 + 10.0 * (of_groups[g] - middle)) * float(weights[i, g] / total[g]) / 3 for g in range(3))
        assert float(gradient[i]) == pytest.approx(exact)


def test_equal_losses_have_no_variance_and_no_gradient_of_it():
    errors = torch.full((6,), 0.4, dtype=torch.float64, requires_grad=True)
    variance = group_risk(errors, drawn(6, 3)).variance
    (gradient,) = torch.autograd.grad(variance, errors)
    assert abs(float(variance.detach())) < 1e-15
    assert torch.allclose(gradient, torch.zeros(6, dtype=torch.float64), atol=1e-12)


def test_a_group_that_is_not_in_the_batch_is_left_out_and_one_alone_has_no_variance():
    errors = drawn(4).requires_grad_(True)
    two = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    mean, variance = group_risk(errors.detach(), two)
    first, second = errors.detach()[:2].mean(), errors.detach()[2:].mean()
    assert float((mean - (first + second) / 2).abs()) < 1e-12
    assert float((variance - (first - second) ** 2 / 4).abs()) < 1e-12
    alone = group_risk(errors, two[[0, 0, 0, 0]])
    assert float(alone.variance.detach()) == 0.0
    (gradient,) = torch.autograd.grad(alone.mean + alone.variance, errors)
    assert torch.allclose(gradient, torch.full_like(gradient, 0.25))


def test_a_group_without_pictures_has_mean_zero():
    assert group_means(torch.tensor([1.0, 3.0]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])).tolist() == [2.0, 0.0]


def test_neither_scale_nor_offset_of_the_losses_changes_the_groups_under_a_balance():
    losses = torch.tensor([0.1, 0.12, 0.3, 0.31, 0.5, 0.9])
    options = {"epochs": 60, "rate": 0.01, "balance": 2.0, "seed": 0}
    groups = loss_groups(losses, 3, **options)
    assert torch.allclose(loss_groups(50 * losses + 7, 3, **options), groups, atol=1e-3)
