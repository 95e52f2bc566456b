import numpy as np

from debias_scenes import berkson
from intaglio.causal.debias.methods.naive import UncorrectedPredictions

SMALL = {"resamples": 50, "folds": 2}
BAD = {"folds": 1}
PIECES = {}


def test_nothing_is_changed():
    values = np.array([1.0, 2.5])
    assert np.array_equal(UncorrectedPredictions().fit(berkson(30))(values), values)
