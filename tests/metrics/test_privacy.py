"""Privacy accounting against published and separately computed figures, and against the definition itself."""

import builtins

import numpy as np
import pytest
from scipy.stats import norm

from intaglio.errors import BadInput
from intaglio.metrics.privacy import (
    NoisySteps,
    PrivacyReport,
    epsilon_spent,
    gaussian_delta,
    gaussian_epsilon,
    highest_true_positive_rate,
    sigma_for,
)

FULL = NoisySteps(sigma=10.0, steps=100)


@pytest.mark.parametrize(
    ("made", "delta", "accountant", "epsilon"),
    [
        (FULL, 1e-5, "closed-form", 4.37718),
        (FULL, 1e-5, "rdp", 4.7285),
        (NoisySteps(rate=0.01, sigma=1.0, steps=1000), 1e-5, "rdp", 2.101),
        (NoisySteps(rate=256 / 60000, sigma=1.1, steps=14062), 1e-5, "rdp", 2.597),
        (NoisySteps(rate=256 / 60000, sigma=1.1, steps=14062), 1e-5, "pld", 2.382),
        (NoisySteps(rate=0.25, sigma=3.0, steps=400), 1e-2, "pld", 4.83),
    ],
)
def test_figures_of_known_trainings(made, delta, accountant, epsilon):
    assert epsilon_spent(made, delta, accountant) == pytest.approx(epsilon, abs=1.1e-3)


def test_the_library_agrees_with_the_closed_form_as_the_rate_goes_to_one():
    almost = NoisySteps(rate=1 - 1e-9, sigma=10.0, steps=100)
    assert epsilon_spent(almost, 1e-5, "pld") == pytest.approx(epsilon_spent(FULL, 1e-5), abs=1e-4)


def test_delta_in_closed_form_is_the_integral_of_its_definition():
    """The integral of max(0, p - e^eps q) for N(mu, 1) against N(0, 1), both ways alike by symmetry."""
    x = np.linspace(-12, 14, 400_001)
    for mu, epsilon in ((1.0, 0.5), (2.5, 4.0)):
        lacking = np.maximum(norm.pdf(x, mu) - np.exp(epsilon) * norm.pdf(x), 0)
        assert gaussian_delta(epsilon, mu) == pytest.approx(np.trapezoid(lacking, x), rel=1e-6)
    assert gaussian_delta(gaussian_epsilon(1e-5, 40.0), 40.0) == pytest.approx(1e-5, rel=1e-6)
    assert gaussian_epsilon(0.5, 0.1) == 0


def test_the_noise_for_an_epsilon_is_least_and_enough():
    for epsilon in (1.0, 8.0):
        sigma = sigma_for(epsilon, 1e-3, rate=1.0, steps=50)
        spent, less = (epsilon_spent(NoisySteps(sigma=s, steps=50), 1e-3) for s in (sigma, sigma / 1.002))
        assert spent <= epsilon < less
    rate = 0.05
    sigma = sigma_for(2.0, 1e-4, rate=rate, steps=100, accountant="rdp")
    assert 1.99 <= epsilon_spent(NoisySteps(rate=rate, sigma=sigma, steps=100), 1e-4, "rdp") <= 2.0


def test_tries_multiply_epsilon_at_a_share_of_delta():
    report = PrivacyReport.of(FULL, delta=1e-4, records=20, tries=5)
    assert report.epsilon == pytest.approx(5 * gaussian_epsilon(2e-5, 1.0))
    assert (report.delta, report.accountant) == (1e-4, "closed-form")
    assert "5 tries included" in report.sentence()
    assert "for each of 20 pictures" in report.sentence()


def test_the_likelihood_ratio_attack_on_full_batches_reaches_the_bound():
    """All steps' noised sums together are N(mu, 1) for a member whose gradient is at the bound."""
    random, mu = np.random.default_rng(0), 1.0
    out, member = random.normal(size=200_000), random.normal(size=200_000) + mu
    caught = (member > np.quantile(out, 0.99)).mean()
    assert caught == pytest.approx(highest_true_positive_rate(mu, 0.01), abs=0.005)
    assert highest_true_positive_rate(mu, 0.01) == pytest.approx(norm.cdf(mu - 2.326), abs=1e-4)


def test_what_cannot_be_accounted_is_refused(monkeypatch):
    poisson = NoisySteps(rate=0.1, sigma=1.0, steps=10)
    with pytest.raises(ValueError, match="closed-form accounts for full batches alone"):
        epsilon_spent(poisson, 1e-3, "closed-form")
    for wrong in ({"rate": 0.0}, {"sigma": -1.0}, {"steps": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            NoisySteps(**{"rate": 0.5, "sigma": 1.0, "steps": 1} | wrong)
    real = builtins.__import__

    def lacking(name, *rest):
        if name.startswith("dp_accounting"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(BadInput, match=r"needs dp-accounting; install it: pip install 'intaglio\[privacy\]'"):
        epsilon_spent(poisson, 1e-3)
    assert epsilon_spent(FULL, 1e-5) == pytest.approx(4.37718, abs=1e-5)
