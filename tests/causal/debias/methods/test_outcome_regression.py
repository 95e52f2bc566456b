import numpy as np
import pytest

from debias_scenes import berkson, rows_of
from intaglio.causal.debias.methods.outcome_regression import OutcomeRegression

SMALL = {"resamples": 50, "folds": 2}
BAD = {"folds": 1}
PIECES = {}


def test_a_prediction_becomes_the_mean_outcome_of_its_like_and_shrinkage_stays():
    predicted = np.array([0.0, 1.0, 2.0])
    found = OutcomeRegression().fit(rows_of(1 + 2 * predicted, predicted))(np.array([3.0]))
    assert found == pytest.approx([7.0])
    corrected = OutcomeRegression().fit(berkson(40_000))
    assert corrected(np.array([1.0])) - corrected(np.array([0.0])) == pytest.approx(1.0, rel=0.02)
