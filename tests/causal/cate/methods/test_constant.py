import numpy as np
import pytest

from cate_scenes import planted
from intaglio.causal.cate.methods.constant import ConstantEffect

SMALL = {"resamples": 50, "folds": 3}
BAD = {"seed": -1}
PIECES = {}


def test_the_effect_is_the_same_for_all_and_weighs_units_by_their_propensity():
    units, effects = planted(40_000, 0, propensity=lambda x: np.where(x[:, 0] > 0, 0.8, 0.2))
    found = ConstantEffect().fit(units)(units.features)
    assert np.ptp(found) == 0
    assert found[0] == pytest.approx(effects.mean(), abs=0.06)
    plain = units.outcome[units.treated].mean() - units.outcome[~units.treated].mean()
    assert abs(plain - effects.mean()) > 0.2  # what unweighted means would say
