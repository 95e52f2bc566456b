from itertools import product

import pytest
import torch

from intaglio.shrink.layer_statistics import InputStatistics
from intaglio.shrink.methods.gptq import GPTQ, inverse_factor
from intaglio.shrink.methods.rtn import RoundToNearest
from shrink_scenes import correlated

SMALL = {"bits": 4}
BAD = {"damping": 0.0}
PIECES = {"batch": 3}


def objective(weight, found, products):
    """The squared error of outputs, tr(D H Dᵀ)."""
    change = (weight - found).double()
    return float((change @ products.double() @ change.T).trace())


def statistics(x):
    return InputStatistics(x.square().mean(0), (x.T @ x / len(x),))


def weight(rows=6, columns=24, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_where_inputs_are_uncorrelated_it_is_round_to_nearest(bits):
    inputs = InputStatistics(torch.ones(24), (torch.diag(torch.rand(24) + 0.1),))
    (found,), (plain,) = GPTQ(bits=bits).pack(weight(), inputs), RoundToNearest(bits=bits).pack(weight(), None)
    assert torch.equal(found.unpack(), plain.unpack())


@pytest.mark.parametrize("seed", range(5))
def test_outputs_of_correlated_inputs_lose_at_most_half_of_what_rounding_loses(seed):
    inputs, w = statistics(correlated(seed=seed)), weight(seed=seed)
    (found,), (plain,) = GPTQ(bits=4).pack(w, inputs), RoundToNearest(bits=4).pack(w, None)
    (products,) = inputs.products
    assert objective(w, found.unpack(), products) < 0.5 * objective(w, plain.unpack(), products)


def test_two_correlated_weights_are_rounded_as_written_out_by_hand():
    """One row (a, b): a to the nearest, then b - (a - q_a) U_ab / U_aa, which is b + (a - q_a) H_ab / H_bb."""
    w, scale = torch.tensor([[0.26, 0.70]]), 0.7 / 7
    products = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    (found,) = GPTQ(bits=4, clip="none", damping=1e-9).pack(w, InputStatistics(torch.ones(2), (products,)))
    scale = float(found.scales[0, 0])
    q_a = scale * round(0.26 / scale)
    q_b = scale * min(7, round((0.70 + (0.26 - q_a) * 0.8) / scale))
    assert found.unpack()[0].tolist() == pytest.approx([q_a, q_b])


def test_it_is_near_the_best_of_all_roundings_of_a_small_row():
    """All 2^8 choices of floor or ceiling are tried; in ten rows it loses at most twice the least on average."""
    x = correlated(200, 8, 0.8)
    inputs, ratios = statistics(x), []
    for seed in range(10):
        w = weight(1, 8, seed)
        (found,) = GPTQ(bits=3, clip="none").pack(w, inputs)
        scale = float(found.scales[0, 0])
        floor = (w / scale).floor()
        tried = [
            objective(w, (floor + torch.tensor([up])).clamp(-4, 3) * scale, inputs.products[0])
            for up in product((0.0, 1.0), repeat=8)
        ]
        ratios.append(objective(w, found.unpack(), inputs.products[0]) / min(tried))
    assert sum(ratios) / len(ratios) < 2.0


def test_the_factor_is_that_of_the_damped_inverse():
    (products,) = statistics(correlated(100, 12)).products
    factor = inverse_factor(products, 0.05)
    damped = products + 0.05 * products.diagonal().mean() * torch.eye(12)
    assert torch.allclose(factor.T @ factor @ damped, torch.eye(12), atol=1e-3)
    assert torch.equal(factor, factor.triu())


def test_inputs_that_are_always_zero_are_rounded_by_themselves():
    x = correlated(200, 8)
    x[:, 3] = 0
    w = weight(4, 8)
    (found,), (plain,) = GPTQ().pack(w, statistics(x)), RoundToNearest(bits=4).pack(w, None)
    assert torch.isfinite(found.unpack()).all()
    assert torch.equal(found.unpack()[:, 3], plain.unpack()[:, 3])


def test_blocks_of_columns_are_rounded_apart_and_their_length_does_not_matter():
    x, w = correlated(300, 16), weight(4, 16)
    whole = statistics(x)
    halves = InputStatistics(whole.squares, (whole.products[0][:8, :8], whole.products[0][8:, 8:]))
    (found,) = GPTQ().pack(w, halves)
    alone = [
        GPTQ(group=8).pack(w[:, cut], InputStatistics(x[0], (block,)))
        for cut, block in ((slice(0, 8), halves.products[0]), (slice(8, 16), halves.products[1]))
    ]
    grouped = GPTQ(group=8).pack(w, halves)[0].unpack()
    assert torch.equal(grouped, torch.cat([one[0].unpack() for one in alone], 1))
    assert found.unpack().shape == w.shape


def test_errors_are_handed_on_across_blocks_of_the_computation(monkeypatch):
    from intaglio.shrink.methods import gptq

    inputs, w = statistics(correlated(300, 24)), weight()
    (whole,) = GPTQ().pack(w, inputs)
    monkeypatch.setattr(gptq, "BLOCK", 5)
    (cut,) = GPTQ().pack(w, inputs)
    assert torch.equal(whole.codes, cut.codes)
