import pytest
import torch

from intaglio.models.packing.packed_weight import PackedWeight
from intaglio.shrink.layer_statistics import InputStatistics
from intaglio.shrink.methods.rtn import RoundToNearest
from intaglio.shrink.methods.svdquant import SVDQuant, directions

SMALL = {"rank": 2, "turns": 1, "group": 0}
BAD = {"turns": 0}
PIECES = {"batch": 3}


def gaussian(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def even(columns):
    return InputStatistics(torch.ones(columns))


def test_the_directions_are_the_nearest_of_their_rank():
    """Eckart and Young: the squared distance is the sum of the squares of the singular values that are left out."""
    weight = gaussian(24, 40)
    left = torch.linalg.svdvals(weight.double())[5:].square().sum()
    found = directions(weight, torch.ones(40), 5).unpack()
    assert float((found - weight).square().sum()) == pytest.approx(float(left), rel=1e-4)


def test_sizes_weigh_the_columns_that_are_kept():
    weight, sizes = gaussian(24, 40), torch.cat([torch.full((20,), 10.0), torch.ones(20)])
    plain, weighed = directions(weight, torch.ones(40), 6).unpack(), directions(weight, sizes, 6).unpack()
    error = [(one - weight)[:, :20].norm() for one in (plain, weighed)]
    assert error[1] < 0.9 * error[0]
    left = torch.linalg.svdvals((weight * sizes).double())[6:].square().sum()
    assert float(((weighed - weight) * sizes).square().sum()) == pytest.approx(float(left), rel=1e-3)


def test_nothing_is_left_of_a_weight_of_no_higher_rank():
    weight = gaussian(16, 3) @ gaussian(3, 64, seed=1)
    factors, codes = SVDQuant(rank=3).pack(weight, even(64))
    assert float(codes.unpack().abs().max()) < 0.01 * float(weight.abs().max())
    assert torch.allclose(factors.unpack() + codes.unpack(), weight, atol=1e-3 * float(weight.abs().max()))


def test_more_turns_never_lose_more():
    weight, inputs = gaussian(32, 64), InputStatistics(torch.rand(64) + 0.1)
    lost = []
    for turns in (1, 2, 4, 8):
        terms = SVDQuant(rank=4, bits=3, turns=turns).pack(weight, inputs)
        apart = sum(term.unpack() for term in terms) - weight
        lost.append(float((apart.square() @ inputs.squares).sum()))
    assert lost == sorted(lost, reverse=True)
    assert lost[-1] < lost[0]


def test_outliers_of_few_columns_cost_the_codes_nothing():
    """Two columns a hundred times as large make the scale of plain rounding useless; two directions hold them."""
    weight = gaussian(32, 64)
    weight[:, [3, 40]] *= 100
    terms = SVDQuant(rank=2, group=0, clip="none").pack(weight, even(64))
    (plain,) = RoundToNearest(bits=4, clip="none").pack(weight, None)
    rest = [k for k in range(64) if k not in (3, 40)]
    apart = [(one - weight)[:, rest].norm() for one in (sum(term.unpack() for term in terms), plain.unpack())]
    assert apart[0] < 0.3 * apart[1]


def test_bits_are_counted_beforehand():
    method = SVDQuant(rank=4)
    found = PackedWeight((32, 64), method.pack(gaussian(32, 64), even(64)))
    assert found.bits == pytest.approx(method.bits_of(32, 64)) == pytest.approx(16 * 4 * 96 / 2048 + 4 + 16 / 64)
