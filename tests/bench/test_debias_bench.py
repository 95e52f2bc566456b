"""The bench of corrections: planted trials, its figures by hand, and its rows end to end."""

import json

import numpy as np
import pytest

from debias_scenes import berkson
from intaglio.bench.debias import bench
from intaglio.bench.debias.bench import DebiasBench, figures_of
from intaglio.bench.debias.predicted_scores import PredictedScores, drawn_trials
from intaglio.causal.debias import pseudo_trials


def planted(count=4000):
    rows, other = berkson(count, 1), berkson(count, 2)
    return PredictedScores(rows, other.truth, other.predicted)


def test_true_effects_are_those_of_the_arms_and_predictions_find_their_share():
    scores = planted()
    trials, true = drawn_trials(scores, 200, 3)
    assert trials.predicted.shape == (200 * 120,)
    assert [len(one) for one in trials.arms(7)] == [60, 60]
    whole = PredictedScores(scores.calibration, scores.truth, scores.truth)  # a perfect prediction
    known, same = drawn_trials(whole, 200, 3)
    assert np.array_equal(same, true)
    means = [known.predicted[one].mean() - known.predicted[two].mean() for one, two in map(known.arms, range(200))]
    assert (np.array(means) * true).sum() / (true**2).sum() == pytest.approx(1, abs=0.06)
    assert np.std(np.array(means) - true) == pytest.approx((2 / 60) ** 0.5, rel=0.2)


def test_figures_by_hand():
    found = {"true": [1.0, 2.0], "estimated": [0.5, 1.0], "held": [True, False]}
    figures = figures_of({"ink naive": found}, {"ink": {"slope": 0.4}}, 1.0)
    assert figures["ratio_ink_naive"] == pytest.approx(0.5)
    assert figures["rows"]["ink"]["naive"]["interval"] == pytest.approx([0.5, 0.5])  # the same share in each trial
    assert figures["coverage_ink_naive"] == 0.5
    assert figures["rows"]["ink"]["naive"]["error"] == pytest.approx((0.25 / 2 + 1 / 2) ** 0.5)
    assert figures["slopes"] == {"ink": 0.4}


def test_rows_end_to_end_and_a_stopped_bench_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESAMPLES", 50)
    monkeypatch.setattr(pseudo_trials, "DRAWS", 1)
    monkeypatch.setattr(bench, "predicted_scores", lambda seed: {name: planted(300) for name in bench.SCORES})
    asked, ask = [], bench.measured

    def stopping(method, *given):
        asked.append(method.name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return ask(method, *given)

    monkeypatch.setattr(bench, "measured", stopping)
    small = DebiasBench(trials=4, runs=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert len(asked) == 13
    assert set(found["rows"]) == {"saturation", "warmth", "ink"}
    assert found["rows"]["ink"]["lcc"]["ratio"] > 1.2 * found["rows"]["ink"]["naive"]["ratio"]
    assert json.dumps(found)
    assert "outcome-regression" in small.summary(found)
