import json

import pytest
import torch

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.low_rank import LowRank
from intaglio.models.packing.packed_weight import PackedWeight


def gaussian(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def integers(rows, columns, seed=0):
    source = torch.Generator().manual_seed(seed)
    codes = torch.randint(256, (rows, columns), generator=source, dtype=torch.uint8)
    return Integers(codes, torch.rand(rows, 1, generator=source).half() + 0.1, 8)


def halves(rank=3):
    return LowRank(gaussian(5, rank).half(), gaussian(rank, 12, 1).half())


TERMS = {
    "halves": halves(),
    "integers": LowRank(integers(5, 3), integers(3, 12, 1)),
    "one of each": LowRank(integers(5, 2), gaussian(2, 12).half()),
}


@pytest.mark.parametrize("name", TERMS)
def test_it_is_the_product_of_its_factors(name):
    term = TERMS[name]
    up, down = (one.unpack() if isinstance(one, Integers) else one.float() for one in (term.up, term.down))
    wanted = [[sum(float(u) * float(d) for u, d in zip(row, col, strict=True)) for col in down.T] for row in up]
    assert torch.allclose(term.unpack(), torch.tensor(wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TERMS)
def test_read_again_it_is_the_same_bits(name):
    one = PackedWeight((5, 3, 2, 2), (TERMS[name], TERMS["halves"]))
    facts = Fields.of(json.loads(json.dumps(one.facts())), "a file")
    again = PackedWeight.read(facts, one.tensors())
    assert torch.equal(again.unpack(), one.unpack())
    assert again.facts() == one.facts()


def test_the_order_of_the_sum_changes_no_bit():
    """The term's own bits are those of a sum from the last rank to the first, and of one in a random order."""
    term = LowRank((100 * gaussian(20, 300)).half(), (0.01 * gaussian(300, 30, 1)).half())
    found, source = term.unpack(), torch.Generator().manual_seed(5)
    up, down = _grid(term.up), _grid(term.down)
    for order in (torch.arange(300).flip(0), torch.randperm(300, generator=source)):
        total = torch.zeros(20, 30, dtype=torch.float64)
        for k in order.tolist():
            total += up[:, k, None] * down[k]
        assert torch.equal(total.float(), found)


def _grid(factor):
    """Multiples of 2^-20 of the power of two that is above the largest number."""
    step = 1.0
    while step <= float(factor.abs().max()):
        step *= 2
    while step / 2 > float(factor.abs().max()):
        step /= 2
    return (factor.double() / (step / 2**20)).round() * (step / 2**20)


def test_bits_are_those_of_two_thin_matrices():
    assert PackedWeight((5, 12), (halves(),)).bytes == 3 * (5 + 12) * 2
    eight = PackedWeight((5, 12), (TERMS["integers"],))
    assert eight.bytes == 8 * 2 + 2 * 5 + 8 * 5 + 2 * 3  # planes of 15 and 36 codes, and a scale a row


def test_factors_that_do_not_fit_are_refused():
    term = halves()
    facts = Fields.of({"rank": 3, "up": None, "down": None}, "a file")
    with pytest.raises(BadInput, match="lacks its down"):
        LowRank.read(facts, (5, 12), {"up": term.tensors()["up"]})
    with pytest.raises(BadInput, match="has up"):
        LowRank.read(facts, (6, 12), term.tensors())
    with pytest.raises(BadInput, match="rank"):
        LowRank.read(Fields.of({"rank": 0, "up": None, "down": None}, "a file"), (5, 12), term.tensors())


def test_a_product_of_zeros_is_zero():
    zeros = LowRank(torch.zeros(4, 1).half(), torch.zeros(1, 6).half())
    assert torch.equal(zeros.unpack(), torch.zeros(4, 6))
