import numpy as np
import pytest

from debias_scenes import berkson, rows_of
from intaglio.causal.debias.methods.lcc import LinearCalibration, slope_of
from intaglio.errors import BadInput

SMALL = {"resamples": 50, "folds": 2}
BAD = {"resamples": 0}
PIECES = {}


def test_the_line_is_that_of_predictions_over_outcomes_and_is_undone():
    truth = np.array([0.0, 1.0, 2.0, 5.0])
    rows = rows_of(truth, 3 + 0.5 * truth)
    assert slope_of(rows) == pytest.approx((0.5, 3.0))
    assert LinearCalibration().fit(rows)(np.array([3.0, 4.0])) == pytest.approx([0.0, 2.0])


def test_shrunken_predictions_are_stretched_by_the_inverse_of_their_share():
    """y = pred + N(0, 0.4) with var y = 1: predictions have 0.6 of the variance, and slope 0.6 over y."""
    rows = berkson(40_000)
    corrected = LinearCalibration().fit(rows)
    assert corrected(np.array([1.0])) - corrected(np.array([0.0])) == pytest.approx(1 / 0.6, rel=0.02)


def test_predictions_that_fall_with_outcomes_are_refused_and_flat_ones_warned_of():
    truth = np.linspace(0, 1, 30)
    with pytest.raises(BadInput, match=r"do not rise with outcomes .*slope -0.500"):
        LinearCalibration().fit(rows_of(truth, -0.5 * truth))
    (told,) = LinearCalibration().warnings(rows_of(truth, 0.1 * truth))
    assert "rise by 0.10 where outcomes rise by 1" in told
    assert LinearCalibration().warnings(rows_of(truth, 0.3 * truth)) == []
