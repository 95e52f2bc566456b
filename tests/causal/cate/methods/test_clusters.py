import numpy as np
import pytest
import torch

from cate_scenes import planted
from intaglio.causal.cate.methods.clusters import EffectClusters, _Types
from intaglio.causal.cate.trial_units import TrialUnits
from intaglio.randomness import generator

SMALL = {"resamples": 50, "folds": 3, "updates": 20}
BAD = {"types": 1}
PIECES = {}


def test_two_types_of_units_are_told_apart_with_their_effects():
    units, _ = planted(1500, 0, gain=0.0)
    first = units.features[:, 0] > 0
    outcome = units.outcome - 0.5 * units.treated + units.treated * np.where(first, 3.0, -1.0)
    typed = TrialUnits(units.names, outcome, units.treated, units.propensity, units.features)
    found = EffectClusters(rate=0.03).fit(typed)(units.features)
    assert found[first].mean() == pytest.approx(3, abs=0.8)
    assert found[~first].mean() == pytest.approx(-1, abs=0.8)


def test_the_divergence_is_that_of_normal_distributions():
    model = _Types(2, 2, generator(0))
    p = [torch.distributions.Normal(m, s.exp()) for m, s in zip(model.means, model.logs, strict=True)]
    q = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    by_torch = sum(torch.distributions.kl_divergence(one, q) for one in p)
    torch.testing.assert_close(model.divergence(), by_torch)


def test_the_loss_is_the_log_cosh_of_residuals_for_units_that_are_untreated():
    model = _Types(1, 2, generator(0))
    outcome = torch.tensor([0.3, -2.0], dtype=torch.float64)
    loss = model.loss(torch.zeros(2, 1, dtype=torch.float64), torch.zeros(2), outcome, generator(1), rows=10**12)
    assert loss.item() == pytest.approx(np.log(np.cosh([0.3, -2.0])).mean(), abs=1e-9)
