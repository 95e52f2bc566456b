"""Figures of probabilities against labels: counted by hand, and on planted truth."""

from itertools import product

import numpy as np
import pytest

from intaglio.causal.methods.spot.posterior_quality import posterior_quality
from intaglio.errors import BadInput


def test_figures_of_six_pairs_are_those_counted_by_hand():
    p = np.array([0.9, 0.8, 0.8, 0.3, 0.1, 0.1])
    true = np.array([True, True, False, True, False, False])
    found = posterior_quality(p, true)
    said = [0.9, 0.8, 0.2, 0.3, 0.9, 0.9]  # the probability of what is true
    assert found.log_loss == pytest.approx(-np.mean(np.log(said)))
    assert found.brier == pytest.approx(np.mean([(1 - q) ** 2 for q in said]))
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(p[true], p[~true])]
    assert found.auroc == pytest.approx(np.mean(wins))
    assert found.auprc == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    # Bins: {0.9}, {0.8, 0.8}, {0.3}, {0.1, 0.1}.
    assert found.ece == pytest.approx((1 * 0.1 + 2 * 0.3 + 1 * 0.7 + 2 * 0.1) / 6)
    assert (found.pairs, found.rate) == (6, 0.5)
    assert set(found.to_json()) == {"log_loss", "brier", "auroc", "auprc", "ece", "pairs", "rate"}


def test_true_probabilities_are_best_and_calibrated():
    random = np.random.default_rng(0)
    p = random.beta(0.5, 3, 40_000)
    true = random.random(p.shape) < p
    best = posterior_quality(p, true)
    assert best.ece < 0.01
    for other in (p**0.5, p**2, np.full_like(p, p.mean())):
        worse = posterior_quality(other, true)
        assert worse.log_loss > best.log_loss
        assert worse.brier > best.brier
    assert posterior_quality(p**2, true).auroc == best.auroc
    assert posterior_quality(p**2, true).ece > 0.03
    without = posterior_quality(np.full_like(p, 0.5), true)
    assert (without.auroc, without.auprc) == pytest.approx((0.5, true.mean()))


def test_certain_numbers_have_a_finite_loss_and_what_is_no_probability_is_refused():
    labels = np.array([True, False])
    assert posterior_quality(np.array([1.0, 0.0]), labels).log_loss == pytest.approx(0, abs=1e-9)
    assert 20 < posterior_quality(np.array([0.0, 1.0]), labels).log_loss < 40
    for wrong in (1.1, -0.1, np.nan):
        with pytest.raises(BadInput, match="no probabilities"):
            posterior_quality(np.array([0.5, wrong]), labels)
    with pytest.raises(BadInput, match="one label"):
        posterior_quality(np.array([0.5, 0.5]), np.array([True, True]))
