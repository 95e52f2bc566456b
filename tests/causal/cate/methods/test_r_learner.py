import numpy as np
import pytest

from cate_scenes import planted
from intaglio.causal.cate.methods.r_learner import RLearner
from intaglio.causal.cate.trial_units import TrialUnits

SMALL = {"resamples": 50, "folds": 3}
BAD = {"resamples": 10}
PIECES = {}


def test_linear_effects_are_found_where_propensities_differ():
    units, effects = planted(4000, 0, propensity=lambda x: np.where(x[:, 1] > 0, 0.7, 0.3))
    found = RLearner().fit(units)(units.features)
    np.testing.assert_allclose(found, effects, atol=0.35)


def test_a_large_part_of_outcomes_that_both_arms_share_does_not_move_effects():
    units, _ = planted(600, 1)
    moved = TrialUnits(
        units.names, units.outcome + 50 * units.features[:, 2], units.treated, units.propensity, units.features
    )
    found = [RLearner().fit(one)(units.features) for one in (units, moved)]
    assert np.corrcoef(*found)[0, 1] == pytest.approx(1, abs=0.05)
