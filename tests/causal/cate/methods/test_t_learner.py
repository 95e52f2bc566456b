import numpy as np

from cate_scenes import planted
from intaglio.causal.cate.methods.t_learner import TLearner

SMALL = {"resamples": 50, "folds": 3}
BAD = {"folds": 1}
PIECES = {}


def test_linear_effects_are_the_difference_of_two_lines():
    units, effects = planted(3000, 0)
    found = TLearner().fit(units)(units.features)
    lines = []
    for arm in (units.treated, ~units.treated):
        columns = np.column_stack([np.ones(arm.sum()), units.features[arm]])
        lines.append(np.linalg.lstsq(columns, units.outcome[arm], rcond=None)[0])
    by_hand = np.column_stack([np.ones(len(units)), units.features]) @ (lines[0] - lines[1])
    np.testing.assert_allclose(found, by_hand, atol=0.02)
    np.testing.assert_allclose(found, effects, atol=0.3)
