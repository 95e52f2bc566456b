import numpy as np

from cate_scenes import planted
from intaglio.causal.cate.methods.dr_forest import DRForest
from intaglio.causal.cate.trial_units import TrialUnits

SMALL = {"resamples": 50, "folds": 3, "trees": 10}
BAD = {"leaf": 0}
PIECES = {}


def test_an_effect_that_is_no_line_of_the_features_is_found():
    units, _ = planted(2000, 0, gain=0.0)
    extra = (np.abs(units.features[:, 0]) > 1).astype(float) * 3
    outcome = units.outcome + units.treated * extra
    bent = TrialUnits(units.names, outcome, units.treated, units.propensity, units.features)
    found = DRForest(trees=50).fit(bent)(units.features)
    assert found[extra > 0].mean() - found[extra == 0].mean() > 1.5
