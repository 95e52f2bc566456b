from itertools import product

import pytest
import torch
from torch import nn

from intaglio.runs.run import Run
from intaglio.shrink.code_grid import CodeGrid, grid_of
from intaglio.shrink.layers import WeightLayer
from intaglio.shrink.reconstruct import Reconstruction, penalty_power, reconstruct, squared_error
from intaglio.shrink.rounding import SoftRounding
from intaglio.shrink.unit_rows import UnitRows
from intaglio.shrink.units import DenoiserUnit
from shrink_scenes import correlated


def linear_unit(rows=3, columns=8, seed=0):
    module = nn.Linear(columns, rows, bias=False)
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    module.load_state_dict({"weight": weight})
    return DenoiserUnit(
        "layer", module.requires_grad_(False), {"weight": WeightLayer("denoiser", "layer", module)}
    ), weight


def learned(unit, weight, grid, x, *, judged=None, run=None, **settings):
    rows = UnitRows((x,), {}, x @ weight.T)
    about = Reconstruction(**{"iterations": 300, "batch": 64, "rate": 0.02, "penalty": 0.01, "seed": 0, **settings})
    soft = {"weight": SoftRounding.of(weight, grid)}
    with (run or Run.none()).progress(about.iterations, "test") as progress:
        return reconstruct(unit, soft, {}, rows, judged or rows, about, run=run or Run.none(), progress=progress)


def objectives(weight, found, products):
    """Of each row, d H dᵀ."""
    change = (found - weight).double()
    return ((change @ products.double()) * change).sum(1)


def test_rows_of_sixteen_weights_are_rounded_no_worse_than_nearest_and_near_the_best():
    """A layer of 100 outputs is 100 problems of 16 weights, since the error is a sum over outputs; all 2^16 roundings
    of ten of them are tried."""
    x = correlated(256, 16)
    unit, weight = linear_unit(100, 16)
    grid = CodeGrid((weight.abs().amax(1, keepdim=True) / 3).half(), 3)
    found = learned(unit, weight, grid, x, batch=256, iterations=400, rate=0.05, penalty=0.3).terms["weight"].unpack()
    products = x.T @ x / len(x)
    mine, nearest = (objectives(weight, one, products) for one in (found, grid.nearest(weight).unpack()))
    assert int((mine <= nearest * (1 + 1e-9)).sum()) >= 95
    ups = torch.tensor(list(product((0.0, 1.0), repeat=16)))
    for row in range(10):
        scale = float(grid.scales[row, 0])
        tried = ((weight[row] / scale).floor() + ups).clamp(-4, 3) * scale
        best = float(objectives(weight[row], tried, products).min())
        assert best <= float(mine[row]) * (1 + 1e-6)
        assert float(mine[row]) < 2 * best
    assert float(mine.mean()) < 0.5 * float(nearest.mean())


def test_uncorrelated_inputs_leave_the_nearest_codes():
    """Where xxᵀ is diagonal the error is a sum over weights, each least at its nearest code."""
    x = 4 * torch.eye(8)
    unit, weight = linear_unit()
    grid = grid_of(weight, 3, 0, symmetric=False)
    found = learned(unit, weight, grid, x, batch=8)
    assert torch.equal(found.terms["weight"].codes, grid.nearest(weight).codes)
    assert found.loss == found.nearest


def test_codes_that_do_worse_on_rows_that_were_not_learned_from_are_not_taken():
    unit, weight = linear_unit(2, 8)
    grid = CodeGrid((weight.abs().amax(1, keepdim=True) / 3).half(), 3)
    x, other = correlated(64, 8, 0.95), torch.eye(8)
    best_there = UnitRows((other,), {}, other @ weight.T)
    found = learned(unit, weight, grid, x, judged=best_there)
    assert torch.equal(found.terms["weight"].codes, grid.nearest(weight).codes)
    (judged,) = [(grid.nearest(weight).unpack() - weight).square().sum() / 8]
    assert found.loss == found.nearest == pytest.approx(float(judged), rel=1e-5)


def test_the_power_falls_in_a_line_after_a_fifth():
    assert [penalty_power(at, 100) for at in (0, 19)] == [None, None]
    assert [penalty_power(at, 100) for at in (20, 60, 99)] == pytest.approx([20.0, 11.0, 2.0 + 18 / 80])


def test_errors_are_sums_over_channels_and_means_over_positions():
    source = torch.Generator().manual_seed(0)
    a, b = (torch.randn(3, 4, 5, 6, generator=source) for _ in range(2))
    wanted = [
        sum(float((a[k, :, i, j] - b[k, :, i, j]).square().sum()) for i in range(5) for j in range(6)) / 30
        for k in range(3)
    ]
    assert squared_error(a, b).tolist() == pytest.approx(wanted, rel=1e-5)
    tokens = (a.flatten(2).transpose(1, 2), b.flatten(2).transpose(1, 2))
    assert squared_error(*tokens).tolist() == pytest.approx(wanted, rel=1e-5)
    assert squared_error(a[:, :, 0, 0], b[:, :, 0, 0]).tolist() == pytest.approx(
        (a - b)[:, :, 0, 0].square().sum(1).tolist(), rel=1e-5
    )


def test_the_steps_are_those_of_adam():
    """A loop with torch's own optimiser, written out: the same codes, and choices that are equally settled."""
    x = correlated(64, 8)
    unit, weight = linear_unit()
    grid = grid_of(weight, 2, 0, symmetric=False)
    found = learned(unit, weight, grid, x, iterations=60, batch=64, rate=0.1, penalty=0.05)
    soft = SoftRounding.of(weight, grid)
    alpha = soft.start().requires_grad_()
    adam = torch.optim.Adam([alpha], lr=0.1)
    from intaglio.randomness import generator

    for at in range(60):
        rows = torch.randperm(64, generator=generator(0, "reconstruction", "layer", at))
        loss = (x[rows] @ (soft.weight(alpha) - weight).T).square().sum(1).mean()
        if at >= 12:
            h = (1.2 * alpha.sigmoid() - 0.1).clamp(0, 1)
            loss = loss + 0.05 * (1 - (2 * h - 1).abs() ** (2 + 18 * (1 - (at - 12) / 48))).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert torch.equal(soft.hardened(alpha.detach()).codes, found.terms["weight"].codes)
    h = (1.2 * alpha.detach().sigmoid() - 0.1).clamp(0, 1)
    assert found.undecided == pytest.approx(float(((h > 0.05) & (h < 0.95)).float().mean()))
