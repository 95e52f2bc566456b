"""The two ways that a posterior guides a search: masks of its updates, and costs of edges."""

from math import log

import numpy as np
import pytest
import torch

from intaglio.causal.methods.spot.edge_costs import edge_costs, sparsity_of
from intaglio.causal.methods.spot.posterior_mask import PosteriorMask

U = np.array([[0.0, 0.02, 1.0, 0.6], [0.02, 0.0, 0.3, 0.9], [1.0, 0.3, 0.0, 0.5], [0.6, 0.9, 0.5, 0.0]])


def test_masks_are_symmetric_and_their_mean_is_the_inclusion_probability():
    mask, draws = PosteriorMask(U, seed=0), 3000
    drawn = torch.stack([mask(0, 0, 10 * k) for k in range(draws)])
    assert torch.equal(drawn, drawn.mT)
    assert not drawn.diagonal(dim1=1, dim2=2).any()
    mean = drawn.double().mean(0).numpy()
    deviation = np.sqrt(U * (1 - U) / draws)
    assert (np.abs(mean - U) <= 4 * deviation + 1e-12).all()


def test_pairs_and_draws_are_independent():
    mask, draws = PosteriorMask(np.full((3, 3), 0.5), seed=3), 4000
    drawn = np.stack([mask(0, 0, 10 * k).numpy() for k in range(draws)]).astype(float)
    upper = drawn[:, *np.triu_indices(3, 1)]
    assert np.abs(np.corrcoef(upper.T) - np.eye(3)).max() < 0.07
    assert abs(np.corrcoef(upper[1:, 0], upper[:-1, 0])[0, 1]) < 0.07


def test_a_mask_is_shared_by_ten_steps_and_depends_on_seed_restart_round_and_step_alone():
    u = np.full((12, 12), 0.5)
    one, two = PosteriorMask(u, seed=5), PosteriorMask(u, seed=5)
    shared = [one(2, 1, step) for step in range(20)]
    assert all(torch.equal(shared[0], other) for other in shared[:10])
    assert all(torch.equal(shared[10], other) for other in shared[10:])
    assert not torch.equal(shared[0], shared[10])
    two(7, 7, 70)  # asked in another order
    assert torch.equal(two(2, 1, 19), shared[19])
    assert torch.equal(two(2, 1, 0), shared[0])
    for other in (one(3, 1, 0), one(2, 2, 0), PosteriorMask(u, seed=6)(2, 1, 0)):
        assert not torch.equal(other, shared[0])


def test_sure_pairs_are_always_open():
    mask = PosteriorMask(np.ones((4, 4)), seed=1)
    assert all(mask(r, 0, step).sum() == 12 for r in range(5) for step in range(0, 100, 10))


def test_a_cost_is_twice_the_log_odds_against_the_edge():
    """A posterior s beside the BIC: -2 log of its odds, since the BIC is -2 log-likelihood plus k log n."""
    s = np.array([[0.0, 0.9, 0.5], [0.9, 0.0, 0.01], [0.5, 0.01, 0.0]])
    costs = edge_costs(s)
    assert costs[0, 1] == pytest.approx(-2 * log(9))
    assert costs[1, 2] == pytest.approx(2 * log(99))
    assert costs[0, 2] == 0
    assert not costs.diagonal().any()
    assert np.array_equal(costs, costs.T)
    assert s.diagonal().tolist() == [0, 0, 0]


def test_no_posterior_overrules_the_rows():
    s = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert edge_costs(s)[0, 1] == -16
    assert edge_costs(1 - s - np.eye(2))[0, 1] == 16


def test_sparsity_is_that_of_the_bic_shifted_by_the_log_odds_within_its_range():
    """BIC / (2 n): log n / (2 n) an edge; log-odds against it add (1 / n) log((1 - s) / s)."""
    n, s = 1000, np.array([[0.0, 0.2, 0.5], [0.2, 0.0, 0.9999], [0.5, 0.9999, 0.0]])
    found, usual = sparsity_of(edge_costs(s), n), log(n) / (2 * n)
    assert found[0, 1] == pytest.approx(usual + log(4) / n)
    assert found[0, 2] == pytest.approx(usual)
    assert found[1, 2] == pytest.approx(0.2 * usual)
    assert sparsity_of(np.full((2, 2), 1e9), n) == pytest.approx(5 * usual)
    assert sparsity_of(np.zeros((2, 2)), 50) == pytest.approx(log(50) / 100)
