"""Effects by hand, the check by pseudo-trials, intervals, tables that are refused, and files."""

import numpy as np
import pytest

from debias_scenes import berkson, rows_of, trials
from intaglio.causal.debias import pseudo_trials
from intaglio.causal.debias.family import effect_of
from intaglio.causal.debias.methods.lcc import LinearCalibration
from intaglio.causal.debias.methods.naive import UncorrectedPredictions
from intaglio.causal.debias.methods.outcome_regression import OutcomeRegression
from intaglio.causal.debias.pseudo_trials import differences, recovered_share
from intaglio.causal.debias.result import DebiasedEffects
from intaglio.causal.debias.trial_rows import read_calibration, read_trials
from intaglio.errors import BadInput


def test_an_effect_is_a_difference_of_weighted_means():
    given = trials(np.array([1.0, 3.0, 0.0, 2.0]), [1, 1, 0, 0], np.array([3.0, 1.0, 1.0, 1.0]))
    assert effect_of(given, 0, given.predicted) == pytest.approx((3 * 1 + 3) / 4 - 1)
    arms = np.array([[True, True, False], [False, True, False]])
    assert differences(np.array([1.0, 3.0, 0.0]), arms) == pytest.approx([2.0, 2.5])


def test_an_effect_is_multiplied_by_the_inverse_of_the_slope_and_its_interval_holds_it():
    calibration = berkson(2000)
    source, effect = np.random.default_rng(5), 0.5
    outcomes = source.normal(0, 1, 4000)
    treated = np.arange(4000) % 2 == 0
    outcomes[treated] += effect
    predicted = 0.6 * outcomes + source.normal(0, 0.24**0.5, 4000)  # as berkson's, given the outcome
    found = LinearCalibration(resamples=100)(calibration, trials(predicted, treated))
    (one,) = found.effects
    assert one.predicted == pytest.approx(0.3, abs=0.05)
    assert one.effect == pytest.approx(0.5, abs=0.08)
    assert one.interval[0] < effect < one.interval[1]
    assert one.effect / one.predicted == pytest.approx(1 / 0.6, rel=0.06)


def test_pseudo_trials_find_the_share_that_shrinkage_leaves():
    rows = berkson(4000)
    shares = {
        one.name: recovered_share(one.fit, rows, 5, 0)[0]
        for one in (UncorrectedPredictions(), OutcomeRegression(), LinearCalibration())
    }
    assert shares["naive"] == pytest.approx(0.6, abs=0.05)
    assert shares["outcome-regression"] == pytest.approx(0.6, abs=0.05)
    assert shares["lcc"] == pytest.approx(1.0, abs=0.05)


def test_the_check_is_exact_for_exact_predictions_and_wider_for_fewer_rows():
    exact = rows_of(np.linspace(0, 1, 200), 0.3 * np.linspace(0, 1, 200))
    assert recovered_share(UncorrectedPredictions().fit, exact, 5, 0) == pytest.approx((0.3, 0.3, 0.3))
    widths = []
    for count in (60, 960):
        _, low, high = recovered_share(UncorrectedPredictions().fit, berkson(count), 5, 0)
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.4)  # it goes with the root of the rows, not of the trials


def test_no_fold_is_checked_by_what_was_learnt_from_itself():
    rows, seen = rows_of(np.arange(40.0), np.arange(40.0)), []

    def fit(learnt):
        seen.append(set(learnt.truth))

        def corrected(predicted):
            assert not seen[-1] & set(predicted)  # predictions are the outcomes themselves
            return predicted

        return corrected

    assert recovered_share(fit, rows, 4, 0)[0] == pytest.approx(1)
    assert [len(one) for one in seen[:4]] == [30] * 4
    with pytest.raises(BadInput, match="40 calibration rows have no 11 folds of 4; give at most --folds 10"):
        recovered_share(fit, rows, 11, 0)


def test_resamples_that_allow_no_correction_are_told():
    source = np.random.default_rng(3)
    truth = source.normal(size=40)
    weak = rows_of(truth, 0.25 * truth + source.normal(size=40))
    given = trials(np.array([0.1, 0.2, 0.3, 0.2, 0.1, 0.3]), [1, 0, 1, 0, 1, 0])
    told = LinearCalibration(resamples=100, folds=2)(weak, given).warnings
    assert any("of the resamples allowed no correction and were drawn again" in one for one in told)


def test_intervals_of_many_trials_cover_their_effects(monkeypatch):
    monkeypatch.setattr(pseudo_trials, "DRAWS", 1)  # the check is not asked here
    covered, source = [], np.random.default_rng(1)
    for seed in range(30):
        outcomes, treated = source.normal(0, 1, 120), np.arange(120) % 2 == 0
        outcomes[treated] += 0.4
        predicted = 0.6 * outcomes + source.normal(0, 0.24**0.5, 120)
        method = LinearCalibration(resamples=100, folds=2, seed=seed)
        (one,) = method(berkson(150, seed), trials(predicted, treated)).effects
        covered.append(one.interval[0] <= 0.4 <= one.interval[1])
    assert np.mean(covered) >= 0.8  # 0.95 is due; 24 of 30 or fewer has a chance of one in a thousand


def test_predictions_beyond_the_calibrated_ones_and_few_rows_are_told():
    calibration = rows_of(np.linspace(0, 1, 30), np.linspace(0, 0.5, 30))
    given = trials(np.array([0.1, 0.2, 0.9, 0.8, 0.3, 0.4]), [1, 0, 1, 0, 1, 0])
    found = LinearCalibration(resamples=50)(calibration, given)
    (told,) = found.warnings
    assert found.figures()["effect"] == found.effects[0].effect
    assert told == "33% of the trials' predictions lie outside of those that were calibrated"
    with pytest.raises(BadInput, match="19 calibration rows are too few; give 20 or more"):
        LinearCalibration()(calibration[np.arange(19)], given)


def test_tables_are_read_by_their_columns_and_what_is_wrong_is_told(tmp_path):
    rows = [f"{k / 7},{k % 2},{'ab'[k % 4 > 1]},{1 + k}" for k in range(12)]
    (tmp_path / "t.csv").write_text("prediction,treated,place,weight\n" + "\n".join(rows) + "\n")
    found = read_trials(tmp_path / "t.csv", "prediction", "treated", "place", "weight")
    assert found.names == ("a", "b")
    assert found.predicted[3] == pytest.approx(3 / 7)
    assert (found.weights[3], found.treated[3], found.trial[3]) == (4.0, True, 1)
    for words, options in (
        ("has no column 'arm'; it has: prediction, treated", {"treatment": "arm"}),
        ("has other numbers than 0 and 1", {"treatment": "weight"}),
        ("has no number in its row 1", {"weight": "place"}),
        ("has weights that are not above 0", {"weight": "treated"}),
        ("has an arm of fewer than two units", {"trial": "weight"}),
    ):
        with pytest.raises(BadInput, match=words):
            read_trials(tmp_path / "t.csv", **{"prediction": "prediction", "treatment": "treated", **options})
    again = read_calibration(tmp_path / "t.csv", "weight", "prediction")
    assert again.truth.tolist() == [float(1 + k) for k in range(12)]


def test_stored_and_read_again_and_a_damaged_file_is_told(tmp_path):
    found = LinearCalibration(resamples=50)(berkson(60), trials(np.arange(8.0), np.arange(8) % 2))
    found.save(tmp_path)
    assert DebiasedEffects.load(tmp_path) == found
    assert found.to_frame().loc["all", "effect"] == found.effects[0].effect
    (tmp_path / "effects.json").write_text('{"effects": []}')
    with pytest.raises(BadInput, match="is damaged"):
        DebiasedEffects.load(tmp_path)
