"""Maximum likelihood of linear ADMGs against direct maximisation, and the BIC of districts against the likelihood."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize

from intaglio.causal.confounding.ricf import PROMISING, DistrictScores, LinearADMG, districts, fit_district, ricf
from mixed_graphs import random_mixed


def deviance(covariance, model: np.ndarray) -> float:
    return float(np.linalg.slogdet(model)[1] + np.trace(np.linalg.solve(model, covariance)))


def implied(arrows, errors) -> np.ndarray:
    inverse = np.linalg.inv(np.eye(len(arrows)) - arrows)
    return inverse.T @ errors @ inverse


def sample(seed: int, d: int = 5, n: int = 400):
    """(covariance, directed, bidirected) of rows of a random bow-free ADMG."""
    random = np.random.default_rng(seed)
    directed, bidirected = random_mixed(random, d, 0.5, 0.7)
    bidirected &= ~(directed | directed.T)
    arrows = directed * random.uniform(0.4, 1.0, (d, d))
    errors = np.tril(bidirected * random.uniform(0.3, 0.5, (d, d)), -1)
    errors = errors + errors.T
    errors += np.diag(1.0 + np.abs(errors).sum(0))
    rows = random.multivariate_normal(np.zeros(d), implied(arrows, errors), n)
    rows -= rows.mean(0)
    return rows.T @ rows / n, directed, bidirected


def directly(covariance, directed, bidirected) -> float:
    """The least deviance, by a general optimiser over coefficients, covariances and log variances."""
    d, lower = len(covariance), np.tril(bidirected)
    k, m = directed.sum(), lower.sum()

    def loss(given):
        arrows, errors = np.zeros((d, d)), np.zeros((d, d))
        arrows[directed], errors[lower] = given[:k], given[k : k + m]
        errors = errors + errors.T + np.diag(np.exp(given[k + m :]))
        if np.linalg.eigvalsh(errors)[0] < 1e-9:
            return 1e6
        return deviance(covariance, implied(arrows, errors))

    start = np.concatenate([np.zeros(k + m), np.log(np.diagonal(covariance))])
    return minimize(loss, start, method="BFGS", options={"gtol": 1e-7}).fun


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_is_the_maximum_of_the_likelihood(seed):
    covariance, directed, bidirected = sample(seed, 4)
    found = ricf(covariance, directed, bidirected)
    assert (found.arrows[~directed] == 0).all()
    assert (found.errors[~bidirected & ~np.eye(4, dtype=bool)] == 0).all()
    assert deviance(covariance, found.covariance()) == pytest.approx(
        directly(covariance, directed, bidirected), abs=1e-5
    )


def test_the_likelihood_never_falls_from_sweep_to_sweep():
    covariance, directed, bidirected = sample(11, 6)
    inside = max(districts(directed, bidirected), key=lambda district: len(district[0]))
    assert len(inside[0]) > 2
    values = []
    for sweeps in range(1, 8):
        fitted = fit_district(covariance, *inside, None, sweeps)
        rest = np.eye(6)[:, inside[0]] - fitted.arrows
        values.append(deviance(rest.T @ covariance @ rest, fitted.errors))
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(values))
    assert values[0] > values[-1]


def test_the_chain_with_a_hidden_cause_gets_its_own_parameters_back():
    arrows, errors = np.zeros((4, 4)), np.eye(4)
    arrows[0, 1], arrows[1, 2], arrows[2, 3] = 0.9, -0.8, 1.1
    errors[1, 3] = errors[3, 1] = 0.5
    found = ricf(LinearADMG(arrows, errors).covariance(), arrows != 0, (errors != 0) & ~np.eye(4, dtype=bool))
    assert np.allclose(found.arrows, arrows, atol=1e-7)
    assert np.allclose(found.errors, errors, atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_the_bic_is_that_of_the_whole_likelihood(seed):
    covariance, directed, bidirected = sample(seed + 20)
    found = ricf(covariance, directed, bidirected)
    n, k = 400, directed.sum() + bidirected.sum() // 2 + 5
    whole = n * (5 * np.log(2 * np.pi) + deviance(covariance, found.covariance())) + k * np.log(n)
    scores = DistrictScores(covariance, n)
    assert scores.bic(directed, bidirected) == pytest.approx(whole, rel=1e-10)
    scores.near(directed, bidirected)
    beside = directed.copy()
    beside[tuple(np.argwhere(directed)[0])] = False
    exact = DistrictScores(covariance, n).bic(beside, bidirected)
    assert exact - 1e-9 <= scores.bic(beside, bidirected) <= exact + 0.01


def test_the_bic_beside_a_fitted_graph_is_never_below_its_own_and_exact_where_it_matters():
    for seed in range(6):
        covariance, directed, bidirected = sample(seed + 40)
        scores = DistrictScores(covariance, 400)
        scores.near(directed, bidirected)
        best = scores.bic(directed, bidirected)
        for i, j in np.argwhere(np.triu(directed | directed.T | bidirected)).tolist():
            less, lone = directed.copy(), bidirected.copy()
            less[i, j] = less[j, i] = lone[i, j] = lone[j, i] = False
            told, exact = scores.changed(less, lone, (i, j), best), DistrictScores(covariance, 400).bic(less, lone)
            assert told >= exact - 1e-6
            assert told > best + PROMISING or told == pytest.approx(exact, abs=0.05)


def test_districts_are_what_double_arrows_connect():
    directed, bidirected = np.zeros((2, 5, 5), bool)
    directed[0, 1] = bidirected[1, 3] = bidirected[3, 1] = bidirected[3, 4] = bidirected[4, 3] = True
    assert [district[0] for district in districts(directed, bidirected)] == [(0,), (1, 3, 4), (2,)]
    assert districts(directed, bidirected)[1][1:] == (((0,), (), ()), ((3,), (1, 4), (3,)))
