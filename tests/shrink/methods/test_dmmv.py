from itertools import product

import pytest
import torch

from intaglio.shrink.layer_statistics import InputStatistics
from intaglio.shrink.methods.dmmv import DiscreteMinMax, least_maximum
from intaglio.shrink.methods.rtn import RoundToNearest

SMALL = {"moves": 1, "keep": ("conv_in", "conv_out", "up_blocks", "down_blocks")}
BAD = {"moves": 0}
PIECES = {"batch": 3}


def instance(seed, rows=1, columns=10, inputs=40):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=source), torch.randn(inputs, columns, generator=source)


def maximum(steps, real, inputs):
    return float((inputs @ (steps - real).T).abs().max())


def test_of_all_roundings_of_small_rows_it_mostly_finds_the_best():
    """All 2^10 roundings are tried; the nearest codes' maximum is about 1.2 times the least."""
    ratios = []
    for seed in range(30):
        real, inputs = instance(seed)
        real = real * 2
        every = torch.tensor(list(product((0.0, 1.0), repeat=10))) + real.floor()
        least = float((inputs @ (every - real).T).abs().amax(0).min())
        found = least_maximum(real, inputs, torch.ones_like(real), 8, 300)
        ratios.append(maximum(found, real, inputs) / least)
    assert sum(ratios) / 30 <= 1.03
    assert sum(ratio < 1.0001 for ratio in ratios) >= 24


@pytest.mark.parametrize("seed", range(3))
def test_large_rows_have_their_maximum_lowered_by_a_quarter_and_each_by_itself(seed):
    real, inputs = instance(seed, rows=4, columns=64, inputs=128)
    real = real * 2
    together, lowered = least_maximum(real, inputs, torch.ones_like(real), 8, 60), []
    for row in range(4):
        plain = maximum(real[row : row + 1].round(), real[row : row + 1], inputs)
        lowered.append(maximum(together[row : row + 1], real[row : row + 1], inputs) / plain)
    assert max(lowered) <= 1
    assert sum(lowered) / 4 < 0.75


def test_codes_are_next_to_the_weight_and_within_their_range():
    real, inputs = instance(1, 5, 20)
    found = least_maximum(real * 3, inputs, torch.ones_like(real), 3, 50)
    assert float(found.min()) >= -4
    assert float(found.max()) <= 3
    inside = (real * 3).abs() < 3
    assert ((found - real * 3).abs()[inside] < 1).all()


def test_scales_of_columns_count_in_what_is_made_small():
    """The second column's steps are a hundred times as long, so that its code decides the maximum."""
    real, inputs = torch.tensor([[0.4, 0.4]]), torch.ones(1, 2)
    found = least_maximum(real, inputs, torch.tensor([[1.0, 0.01]]), 4, 10)
    assert found[0, 0] == 0
    other = least_maximum(real, inputs, torch.tensor([[0.01, 1.0]]), 4, 10)
    assert other[0, 1] == 0


def test_the_worst_output_of_a_layer_is_nearer_than_that_of_rounding():
    weight, inputs = instance(2, 8, 48, 200)
    statistics = InputStatistics(inputs.square().mean(0), (), inputs)
    (found,), (plain,) = DiscreteMinMax().pack(weight, statistics), RoundToNearest(bits=4).pack(weight, None)
    worst = [(inputs @ (one.unpack() - weight).T).abs().amax(0) for one in (found, plain)]
    assert (worst[0] <= worst[1]).all()
    assert worst[0].mean() < 0.8 * worst[1].mean()
    assert torch.equal(found.scales, plain.scales)
