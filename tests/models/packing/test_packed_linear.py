"""Linear layers whose weight is kept in 4 or 8 bits: codes against their definition, products, gradients, memory."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from intaglio.models.packing import block_codes as coding
from intaglio.models.packing.block_codes import block_codes, level_pairs, unpacked
from intaglio.models.packing.packed_linear import PackedLinear

LEVELS = (
    *(-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0, 0.0795803, 0.1609302),
    *(0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0),
)
"""Those printed in appendix E of arXiv 2305.14314."""


def expected(weight, kind):
    """Every number to the nearest level of its block of 64, one by one."""
    steps = LEVELS if kind == "nf4" else [code / 127 for code in range(-127, 128)]
    flat, found = weight.flatten().tolist(), []
    for start in range(0, len(flat), 64):
        block = flat[start : start + 64]
        scale = float(torch.tensor(max(map(abs, block))).half())
        found += [scale * min(steps, key=lambda level: abs(level * scale - one)) for one in block]
    return torch.tensor(found).view(weight.shape)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_each_number_becomes_the_nearest_level_of_its_block(kind):
    weight = torch.randn(7, 29, generator=torch.Generator().manual_seed(0))  # the last block is not full
    weight[2:5] = 0.0
    codes, scales = block_codes(weight, kind)
    pairs = level_pairs() if kind == "nf4" else None
    found = unpacked(codes, scales, pairs, weight.shape, torch.float32)
    torch.testing.assert_close(found, expected(weight, kind), rtol=2e-6, atol=1e-6)
    bits = 8 * (codes.nbytes + scales.nbytes) / (64 * math.ceil(7 * 29 / 64))
    assert bits == {"nf4": 4.25, "int8": 8.25}[kind]


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_a_weight_that_is_coded_in_pieces_has_the_codes_of_the_whole(kind, monkeypatch):
    weight = torch.randn(7, 91, generator=torch.Generator().manual_seed(0))
    whole = block_codes(weight, kind)
    assert coding.AT_ONCE % 64 == 0
    monkeypatch.setattr(coding, "AT_ONCE", 128)
    pieces = block_codes(weight, kind)
    for one, other in zip(whole, pieces, strict=True):
        assert torch.equal(one, other)
    pairs = level_pairs() if kind == "nf4" else None
    found = unpacked(*pieces, pairs, weight.shape, torch.float32)
    torch.testing.assert_close(found, expected(weight, kind), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("half", [False, True])
def test_outputs_and_gradients_are_those_of_the_unpacked_layer(kind, half):
    torch.manual_seed(0)
    packed = PackedLinear(nn.Linear(40, 24), kind)
    packed.bias.requires_grad_(True)
    weight, twin = packed.weight, packed.bias.detach().clone().requires_grad_(True)
    x, y = (torch.randn(2, 5, 40).requires_grad_(True) for _ in range(2))
    y.data = x.data
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        one, two = packed(x), functional.linear(y, weight, twin)
    assert one.dtype == two.dtype == (torch.bfloat16 if half else torch.float32)
    assert torch.equal(one, two)
    for out in (one, two):
        out.float().square().sum().backward()
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if half else {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(x.grad, y.grad, **tolerance)
    torch.testing.assert_close(packed.bias.grad, twin.grad, **tolerance)


def test_one_row_alone_has_the_gradients_of_a_batch_of_one():
    torch.manual_seed(0)
    packed = PackedLinear(nn.Linear(40, 24), "int8")
    packed.bias.requires_grad_(True)
    x = torch.randn(40, requires_grad=True)
    found = torch.autograd.grad(packed(x).square().sum(), (x, packed.bias))
    wanted = torch.autograd.grad(packed(x[None]).square().sum(), (x, packed.bias))
    assert all(map(torch.equal, found, wanted))


def test_nothing_is_saved_for_the_backward_pass_and_a_change_of_precision_keeps_the_codes():
    packed, saved = PackedLinear(nn.Linear(64, 64), "nf4"), []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda _: None):
        packed(torch.randn(3, 64, requires_grad=True))
    assert saved == []
    before = packed.weight
    assert torch.equal(packed.to(torch.bfloat16).unpacked(torch.float32), before)
    assert packed.shape == (64, 64)
    assert not any("weight" in name for name in packed.state_dict())
