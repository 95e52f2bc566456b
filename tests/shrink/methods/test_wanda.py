import torch

from intaglio.shrink.layer_statistics import InputStatistics
from intaglio.shrink.methods.magnitude import MagnitudePruning
from intaglio.shrink.methods.wanda import Wanda

SMALL = {"sparsity": 0.5}
BAD = {"bits": 9}
PIECES = {"batch": 3}


def gaussian(rows=6, columns=32, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def test_inputs_of_equal_norms_make_it_magnitude_pruning():
    weight = gaussian()
    (found,) = Wanda().pack(weight, InputStatistics(torch.full((32,), 2.5)))
    (plain,) = MagnitudePruning().pack(weight, None)
    assert torch.equal(found.unpack(), plain.unpack())


def test_scores_are_weights_times_the_norms_of_their_inputs():
    weight = torch.tensor([[3.0, 1.0, 2.0, 0.5]])
    squares = torch.tensor([1.0, 16.0, 0.25, 400.0])  # norms 1, 4, 1/2, 20: scores 3, 4, 1, 10
    (found,) = Wanda().pack(weight, InputStatistics(squares))
    assert found.mask.int().tolist() == [[0, 1, 0, 1]]


def test_of_uncorrelated_inputs_it_loses_the_least_of_a_row_that_can_be_lost():
    """The error of an output is the sum over dropped weights of w² E[x²], which the lowest scores make least."""
    weight, squares = gaussian(1, 8), torch.rand(8) + 0.1
    (found,) = Wanda().pack(weight, InputStatistics(squares))
    lost = (weight[0].square() * squares).tolist()
    dropped = sum(value for value, kept in zip(lost, found.mask[0].tolist(), strict=True) if not kept)
    assert abs(dropped - sum(sorted(lost)[:4])) < 1e-6
