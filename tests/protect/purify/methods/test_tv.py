"""tv: the least energy, and what a step edge loses."""

import pytest
import torch

from intaglio.protect.purify.methods.tv import TotalVariation
from protect_scenes import levels

SMALL = {"steps": 5}
BAD = {"weight": 0.0}
PIECES = {}


def energy(u, x, weight):
    down, right = torch.zeros_like(u), torch.zeros_like(u)
    down[..., :-1, :] = u[..., 1:, :] - u[..., :-1, :]
    right[..., :, :-1] = u[..., :, 1:] - u[..., :, :-1]
    variation = (down.square() + right.square()).sum(1).sqrt().sum()
    return float((u - x).square().sum() / 2 + weight * variation)


def test_total_variation_reaches_the_least_energy():
    x = 0.25 + levels(1, 8) / 2
    found = TotalVariation(steps=500).clean(x, None, 0)
    least = energy(found, x, 0.1)
    assert least < energy(x, x, 0.1)
    for seed in range(20):
        nudge = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)) * 0.01
        assert energy(found + nudge, x, 0.1) > least
    # a single step edge of height 1 between halves of m pixels each loses weight / m at each side (one dimension)
    edge = torch.zeros(1, 3, 1, 20)
    edge[..., 10:] = 1.0
    flat = TotalVariation(steps=3000).clean(edge, None, 0)
    assert float(flat[..., :10].mean()) == pytest.approx(0.1 / 10 / 3**0.5, rel=0.05)
