"""The likelihood of linear mixed graphs and its gradients, and the search by it."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from intaglio.causal.confounding.gaussian_likelihood import definite, likelihood_gradients
from intaglio.causal.confounding.likelihood_learner import LikelihoodLearner
from intaglio.causal.confounding.mixed_graph_learner import SearchSpace
from intaglio.causal.confounding.ricf import LinearADMG
from intaglio.causal.graphs.admg import ADMG


def point(d=4, k=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(50, d, generator=random, dtype=torch.float64)
    drawn = torch.rand(2, k, d, d, generator=random, dtype=torch.float64) - 0.5
    arrows, lower = drawn[0] * (1 - torch.eye(d, dtype=torch.float64)), 0.3 * drawn[1].tril(-1)
    variances = 0.5 + torch.rand(k, d, generator=random, dtype=torch.float64)
    return rows, arrows, lower + lower.mT, variances


def test_the_value_is_the_density_of_the_rows_without_cycles():
    rows, arrows, doubles, variances = point()
    arrows = arrows.triu(1)
    found = likelihood_gradients(rows.T @ rows / 50, arrows, doubles, variances).value
    for k in range(3):
        errors = (doubles[k] + torch.diag(variances[k])).numpy()
        covariance = LinearADMG(arrows[k].numpy(), errors).covariance()
        density = multivariate_normal(np.zeros(4), covariance).logpdf(rows.numpy()).mean()
        assert float(found[k]) == pytest.approx(-density - 2 * np.log(2 * np.pi))


def test_gradients_are_finite_differences():
    rows, arrows, doubles, variances = point()
    covariance, step = rows.T @ rows / 50, 1e-6

    def value(b, w, logs):
        return float(likelihood_gradients(covariance, b, w, logs.exp()).value[1])

    found, logs = likelihood_gradients(covariance, arrows, doubles, variances), variances.log()
    for i, j in ((0, 1), (2, 0), (3, 2)):
        one = torch.zeros_like(arrows)
        one[1, i, j] = step
        both, at = one + one.mT, torch.zeros_like(logs)
        at[1, i] = step
        slope = (value(arrows + one, doubles, logs) - value(arrows - one, doubles, logs)) / (2 * step)
        assert float(found.arrows[1, i, j]) == pytest.approx(slope, rel=1e-5)
        slope = (value(arrows, doubles + both, logs) - value(arrows, doubles - both, logs)) / (2 * step)
        assert float(2 * found.doubles[1, i, j]) == pytest.approx(slope, rel=1e-5)
        slope = (value(arrows, doubles, logs + at) - value(arrows, doubles, logs - at)) / (2 * step)
        assert float(found.log_variances[1, i]) == pytest.approx(slope, rel=1e-5)
    assert (found.doubles.diagonal(dim1=-2, dim2=-1) == 0).all()


def test_errors_covariances_shrink_only_where_they_must():
    _, _, doubles, variances = point()
    assert definite(doubles, variances) is doubles
    wide = doubles.clone()
    wide[1] *= 100
    found = definite(wide, variances)
    torch.testing.assert_close(found[[0, 2]], wide[[0, 2]])
    assert torch.linalg.eigvalsh(found[1] + torch.diag(variances[1])).min() > 0
    assert (definite(wide, torch.full_like(variances, 1e-300))[1] == 0).all()


def searched(restarts=6, mask=None, stages=10, steps=80):
    """The search on the exact covariance of A → B ← C, B → D."""
    arrows = np.zeros((4, 4))
    arrows[0, 1], arrows[2, 1], arrows[1, 3] = 0.9, -1.1, 0.8
    truth = LinearADMG(arrows, np.eye(4)).covariance()
    spread = np.sqrt(np.diag(truth))
    other = ~torch.eye(4, dtype=torch.bool)
    learner = LikelihoodLearner(
        covariance=torch.from_numpy(truth / np.outer(spread, spread)),
        scales=torch.ones(4, dtype=torch.float64),
        rows=2000,
        kind="ancestral",
        space=SearchSpace(arrows=other, doubles=other, certain=~other & False),
        sparsity=np.log(2000) / 4000,
        threshold=0.05,
        stages=stages,
        rounds_each=1,
        steps=steps,
        first_weight=1e-3,
        mask=mask,
    )
    state = learner.begin(restarts, 0)
    for _ in learner.search(state):
        pass
    return learner, state


def test_a_planted_graph_is_the_end_of_some_restart():
    learner, state = searched()
    found = torch.stack(learner.standardised(state.arrows, state.doubles), 1).abs() > 0.05
    pags = [
        ADMG(tuple("ABCD"), *one).mag().pag() for one in found.numpy() if not (np.linalg.matrix_power(one[0], 4)).any()
    ]
    assert ADMG.of("ABCD", [("A", "-->", "B"), ("C", "-->", "B"), ("B", "-->", "D")]).mag().pag() in pags


def test_a_pair_outside_of_the_mask_keeps_its_start():
    def mask(restart, number, step):
        held = torch.ones(4, 4, dtype=torch.bool)
        held[0, 1] = held[1, 0] = False
        return held

    learner, state = searched(2, mask, stages=1, steps=5)
    start = learner.begin(2, 0)
    torch.testing.assert_close(state.arrows[:, 0, 1], start.arrows[:, 0, 1])
    assert (state.arrows[:, 2, 1] != start.arrows[:, 2, 1]).all()
