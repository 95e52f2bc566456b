"""Statistics of kernels against closed forms, and against what they must be for planted layers."""

import numpy as np
import pytest
import torch

from intaglio.explain.weights.kernel_layers import KernelLayer
from intaglio.explain.weights.methods.filter_statistics import (
    FilterStatistics,
    orthogonality,
    random_entropy,
    variance_entropy,
)

SMALL = {"draws": 2}
BAD = {"small": 0.0}
PIECES = {}


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_entropy_of_known_variances_is_theirs():
    share = np.array([0.5, 0.3, 0.2])
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float)  # orthogonal, of mean 0
    rows = 7 + corners * np.sqrt(share)
    assert variance_entropy(rows) == pytest.approx(-(share * np.log10(share)).sum(), abs=1e-9)


def test_kernels_that_are_all_one_have_no_entropy_and_a_hundred_thousand_random_ones_that_of_nine_equal_parts():
    assert variance_entropy(np.full((50, 9), 0.1)) == 0
    assert variance_entropy(np.random.default_rng(0).standard_normal((100_000, 9))) == pytest.approx(
        np.log10(9), abs=1e-4
    )


@pytest.mark.parametrize(("count", "value"), [(4096, 0.951), (16, 0.722)])
def test_the_entropy_from_which_on_a_layer_is_random(count, value):
    assert random_entropy(count) == pytest.approx(value, abs=1e-3)
    entropies = [variance_entropy(np.random.default_rng(seed).standard_normal((count, 9))) for seed in range(20)]
    assert min(entropies) > random_entropy(count)


def test_orthogonal_channels_have_1_parallel_ones_0_and_half_of_each_two_thirds():
    basis = torch.linalg.qr(drawn(9, 9))[0].reshape(9, 1, 3, 3)
    assert orthogonality(basis) == pytest.approx(1, abs=1e-6)
    parallel = basis[:1] * torch.tensor([1, 2, -3, 4.0])[:, None, None, None]
    assert orthogonality(parallel) == pytest.approx(0, abs=1e-6)
    assert orthogonality(torch.cat([basis[:2], -basis[:1]])) == pytest.approx(2 / 3, abs=1e-6)


def test_a_kernel_counts_as_sparse_where_all_of_it_is_below_a_share_of_the_layers_largest():
    kernels = torch.ones(2, 2, 3, 3)
    kernels[0, 0] = 0.009
    kernels[0, 1] = 0.009
    kernels[0, 1, 0, 0] = 0.011
    figures = FilterStatistics().figures(kernels)
    assert figures["sparsity"] == 0.25
    assert FilterStatistics().figures(torch.zeros(2, 2, 3, 3)) == {"entropy": 0, "sparsity": 1, "orthogonality": 1}


def test_the_divergence_is_that_of_histograms_by_hand_and_symmetric():
    one, other = torch.tensor([1.0, 1, 1, -1]), torch.tensor([1.0, -1, -1, -1])  # kernels of 1x2, the second part 0
    pair = [torch.stack([part, torch.zeros(4)], 1).reshape(4, 1, 1, 2) for part in (one, other)]
    p, q = np.array([0.25, 0.75]), np.array([0.75, 0.25])
    by_hand = (p * np.log(p / q)).sum() + (q * np.log(q / p)).sum()
    method = FilterStatistics(bins=2)
    assert method.shift(*pair) == pytest.approx(by_hand, rel=1e-5)
    assert method.shift(*pair[::-1]) == pytest.approx(by_hand, rel=1e-5)
    assert method.shift(pair[0], 5 * pair[0]) == pytest.approx(0, abs=1e-9)  # each kernel by its largest number


@pytest.mark.parametrize(
    ("kernels", "verdict"),
    [
        (drawn(32, 32, 3, 3), "random"),
        (drawn(16, 16, 5, 5) * torch.linspace(0.2, 2, 25).reshape(5, 5), "structured"),
        (drawn(16, 16, 1, 1) * drawn(1, 1, 3, 3, seed=1), "alike"),
        (torch.cat([drawn(4, 8, 3, 3), torch.zeros(12, 8, 3, 3)]), "sparse"),
    ],
)
def test_planted_layers_are_called_what_they_are(kernels, verdict):
    found = FilterStatistics(draws=5)([KernelLayer("layer", kernels)])
    assert found.layers[0].verdict == verdict
    assert found.layers[0].shift is None
