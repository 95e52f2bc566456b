from math import exp

import pytest
import torch

from intaglio.sampling.composition.attention_losses import composition_loss, misplaced, missing, mixing, overlap
from intaglio.sampling.composition.entities import ComposedTokens, EntityTokens

TWO = (EntityTokens(noun=(2,), colour=(1,)), EntityTokens(noun=(5, 6), colour=(4,)))


def cell(row, column, side=4, low=0.0, high=1.0):
    found = torch.full((side, side), low, dtype=torch.float64)
    found[row, column] = high
    return found


def test_an_entity_is_there_where_its_map_is_ahead():
    apart = torch.stack([cell(0, 0), cell(3, 3)])
    assert missing(apart) == 0
    assert missing(torch.stack([cell(0, 0), cell(0, 0)])) == 2
    assert missing(apart[:1]) == 0
    # Sums 1: a = 1000 A. The first leads by 0.4 at its cell, the second by 0.4 at the other.
    flat = torch.full((2, 2, 2), 0.25, dtype=torch.float64)
    flat[0, 0, 0] += 0.0002
    flat[0, 0, 1] -= 0.0002
    flat[1, 0, 0] -= 0.0002
    flat[1, 0, 1] += 0.0002
    assert missing(flat).item() == pytest.approx(2 * (1 - 0.4))
    assert missing(flat, [1]).item() == pytest.approx(1 - 0.4)
    three = torch.stack([*flat, flat[0]])
    assert missing(three, [0]).item() == pytest.approx(1 - (0.4 + 0.0) / 2)


def test_overlap_is_half_for_equal_maps_and_none_for_disjoint_ones():
    assert overlap(cell(0, 0), cell(0, 0)) == 0.5
    assert overlap(cell(0, 0, low=3.0, high=7.0), cell(0, 0)) == 0.5
    assert overlap(cell(0, 0), cell(1, 0)) == 0
    assert overlap(cell(0, 0), torch.zeros(4, 4, dtype=torch.float64)) == 0
    ramp = torch.tensor([[0.0, 1.0], [2.0, 4.0]], dtype=torch.float64)  # stretched: 0, ¼, ½, 1
    assert overlap(ramp, ramp).item() == pytest.approx((1 / 16 + 1 / 4 + 1) / (2 * 1.75))
    assert mixing(torch.stack([cell(0, 0), cell(0, 0), cell(2, 2)])) == 0.5


@pytest.mark.parametrize(("relation", "distance"), [("left of", -3), ("right of", 3), ("above", -1), ("below", 1)])
def test_a_relation_is_a_sigmoid_of_cells(relation, distance):
    found = misplaced(2 * cell(1, 0), cell(2, 3), relation)
    assert found.item() == pytest.approx(1 / (1 + exp(-distance)))


def written_out(shares, relation):
    """The loss of `TWO`, once more."""

    def a(sharpness):
        top = (sharpness * shares).exp()
        top = top / top.sum(0)
        return top, [(top[1] + top[2]) / 2, (top[4] + top[5] + top[6]) / 3]

    def iou(one, other):
        one, other = ((m - m.min()) / (m.max() - m.min()) for m in (one, other))
        return float((one * other).sum() / (one + other).sum())

    words, (p, q) = a(1.0)
    lead = (
        float((1000 * p / p.sum() - 1000 * q / q.sum()).max()),
        float((1000 * q / q.sum() - 1000 * p / p.sum()).max()),
    )
    total = sum(max(0.0, 1 - one) for one in lead)
    total += 1 - iou(words[1], words[2]) + 1 - iou(words[4], (words[5] + words[6]) / 2)
    if relation is None:
        return total + iou(p, q)
    _, (p, q) = a(100.0)
    columns = torch.arange(4, dtype=torch.float64)
    x, y = (float((m.sum(0) * columns).sum() / m.sum()) for m in (p, q))
    return total + 1 / (1 + exp(-(x - y)))


@pytest.mark.parametrize("relation", [None, "left of"])
def test_the_whole_loss_and_its_gradient_by_differences(relation):
    shares = 1e-3 * torch.rand(8, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tokens = ComposedTokens(8, TWO, relation)
    assert composition_loss(shares, tokens).item() == pytest.approx(written_out(shares, relation), rel=1e-9)
    x = shares.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(composition_loss(x, tokens), x)
    for place in ((1, 0, 1), (2, 3, 3), (6, 2, 0), (0, 1, 1)):
        step = torch.zeros_like(shares)
        step[place] = 1e-8
        slope = (composition_loss(shares + step, tokens) - composition_loss(shares - step, tokens)) / 2e-8
        assert gradient[place].item() == pytest.approx(slope.item(), rel=1e-3, abs=1e-5)


def test_faulty_entities_count_alone():
    shares = 1e-3 * torch.rand(8, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    both = composition_loss(shares, ComposedTokens(8, TWO, "left of"), [0, 1])
    parts = [composition_loss(shares, ComposedTokens(8, TWO, "left of"), [k]) for k in (0, 1)]
    assert both.item() == pytest.approx(sum(part.item() for part in parts))
    assert composition_loss(shares, ComposedTokens(8, (), None)) == 0
