import pytest
import torch

from intaglio.models.packing.packed_weight import PackedWeight
from intaglio.shrink.methods.magnitude import MagnitudePruning

SMALL = {"sparsity": 0.5}
BAD = {"sparsity": 1.0}
PIECES = {}
VARIANTS = {"pattern": {"SMALL": {"pattern": "2:4"}, "BAD": {"pattern": "3:6"}, "PIECES": {}}}


def gaussian(rows=400, columns=256, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def pruned(weight, **settings):
    (term,) = MagnitudePruning(**settings).pack(weight, None)
    return term


@pytest.mark.parametrize(
    ("settings", "energy"),
    [({"pattern": "2:4"}, 0.867), ({"pattern": "1:4"}, 0.618), ({"pattern": "4:8"}, 0.897), ({"sparsity": 0.5}, 0.929)],
)
def test_the_squares_that_normal_weights_keep(settings, energy):
    """Expected squares of the largest order statistics of m normal weights; of half a row E[x²; |x| > median]."""
    weight = gaussian()
    kept = weight[pruned(weight, **settings).mask]
    assert float(kept.square().sum() / weight.square().sum()) == pytest.approx(energy, abs=0.004)


def test_every_group_keeps_exactly_as_many_as_the_pattern_says():
    mask = pruned(gaussian(5, 32), pattern="1:4").mask
    assert (mask.view(5, 8, 4).sum(2) == 1).all()
    weight = torch.tensor([[0.1, -3.0, 2.0, 0.5, 4.0, 4.0, 4.0, 4.0]])
    assert pruned(weight, pattern="2:4").mask.int().tolist() == [[0, 1, 1, 0, 1, 1, 0, 0]]  # of equal ones the first


def test_a_pattern_that_does_not_fit_keeps_its_share_of_the_row():
    mask = pruned(gaussian(3, 27), pattern="2:4").mask
    assert mask.sum(1).tolist() == [14, 14, 14]


@pytest.mark.parametrize(("settings", "bits"), [({"pattern": "2:4"}, 5), ({"pattern": "1:4"}, 2.5), ({}, 5)])
def test_bits_are_counted_beforehand(settings, bits):
    method, weight = MagnitudePruning(**settings), gaussian(16, 256)
    found = PackedWeight((16, 256), method.pack(weight, None))
    assert found.bits == pytest.approx(method.bits_of(16, 256)) == pytest.approx(bits + 16 / 256)


def test_what_stays_is_itself_up_to_eight_bits_and_the_rest_is_zero():
    weight = gaussian(4, 64)
    term = pruned(weight)
    found = term.unpack()
    assert (found[~term.mask] == 0).all()
    assert torch.allclose(found[term.mask], weight[term.mask], atol=float(weight.abs().max()) / 127)


def test_a_pattern_and_a_share_are_not_both_told():
    with pytest.raises(ValueError, match="one of pattern and sparsity"):
        MagnitudePruning(pattern="2:4", sparsity=0.3)
