import math

import pytest
import torch

from intaglio.shrink.code_grid import CodeGrid, grid_of
from intaglio.shrink.rounding import SoftRounding, indecision, undecided, upper_share


def weight(rows=6, columns=24, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def holding(w, bits, symmetric):
    """A grid that holds every weight of the matrix, so that none is clipped."""
    top = 2**bits - 1
    if symmetric:
        return CodeGrid((w.abs().amax(1, keepdim=True) / (top // 2) * 1.01).half(), bits)
    low, high = w.amin(1, keepdim=True), w.amax(1, keepdim=True)
    scales = ((high - low) / (top - 2)).half()
    return CodeGrid(scales, bits, (-low / scales.float()).ceil().to(torch.uint8))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_at_the_start_the_soft_weight_is_the_weight_itself(bits, symmetric):
    w = weight()
    soft = SoftRounding.of(w, holding(w, bits, symmetric))
    assert torch.allclose(soft.weight(soft.start()), w, atol=2e-6)


def test_the_share_is_a_stretched_sigmoid_that_is_clipped():
    alpha = torch.tensor([-3.0, -2.0, 0.0, 0.7, 2.0, 3.0])
    by_hand = [min(1.0, max(0.0, 1.2 / (1 + math.exp(-a)) - 0.1)) for a in alpha.tolist()]
    assert upper_share(alpha).tolist() == pytest.approx(by_hand, abs=1e-6)
    assert upper_share(torch.tensor([-math.log(11), math.log(11)])).tolist() == pytest.approx([0, 1], abs=1e-6)


def test_codes_below_and_above_as_written_out_by_hand():
    """Scale 0.5, 3 bits: -0.6 lies between -1.0 and -0.5, 0.9 between 0.5 and 1.0; 1.4 beyond 1.5 is not reached."""
    w, grid = torch.tensor([[-0.6, 0.9, 1.4, 2.2]]), CodeGrid(torch.tensor([[0.5]]).half(), 3)
    soft = SoftRounding.of(w, grid)
    down, up = torch.full((1, 1, 4), -5.0), torch.full((1, 1, 4), 5.0)
    assert soft.hardened(down).unpack().tolist() == [[-1.0, 0.5, 1.0, 1.5]]
    assert soft.hardened(up).unpack().tolist() == [[-0.5, 1.0, 1.5, 1.5]]
    assert soft.weight(down).tolist() == [[-1.0, 0.5, 1.0, 1.5]]
    assert torch.equal(soft.hardened(soft.start()).unpack(), grid.nearest(w).unpack())


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_made_choice_has_the_same_weight_soft_and_hard(symmetric):
    w = weight()
    soft = SoftRounding.of(w, grid_of(w, 3, 8, symmetric))
    alpha = torch.where(weight(seed=1) > 0, 6.0, -6.0).view(soft.below.shape)
    assert torch.allclose(soft.weight(alpha), soft.hardened(alpha).unpack(), atol=1e-6)


def test_gradients_reach_choices_and_stop_where_the_grid_ends():
    w, grid = torch.tensor([[0.2, 9.0]]), CodeGrid(torch.tensor([[0.5]]).half(), 3)
    soft = SoftRounding.of(w, grid)
    alpha = torch.zeros(1, 1, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(soft.weight(alpha).sum(), alpha)
    assert gradient.flatten().tolist() == pytest.approx([0.5 * 1.2 / 4, 0.0])  # s·1.2σ'(0)


@pytest.mark.parametrize("power", [20.0, 2.0])
def test_the_penalty_is_nothing_where_all_is_decided_and_counts_what_is_not(power):
    assert float(indecision(torch.tensor([-9.0, 9.0]), power)) == pytest.approx(0)
    assert float(indecision(torch.zeros(3), power)) == pytest.approx(3)  # h = 1/2
    share = 0.8
    alpha = torch.tensor([-math.log(1.2 / (share + 0.1) - 1)])
    assert float(indecision(alpha, power)) == pytest.approx(1 - 0.6**power, rel=1e-4)
    assert float(undecided(torch.tensor([0.0, 9.0, -9.0, 1.0]))) == 2
