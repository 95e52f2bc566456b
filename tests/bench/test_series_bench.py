"""The bench of series: planted spikes, precision by hand, figures of several sets, and rows that go on after a stop."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from intaglio.bench.series import bench
from intaglio.bench.series.bench import SeriesBench, figures_of
from intaglio.bench.series.planted_spikes import planted_spikes
from intaglio.explain.series.methods.series_gradients import SeriesGradients
from series_scenes import LONGER, small


def test_spikes_stand_at_their_period_with_their_sign():
    planted = planted_spikes(8, 0)
    for k, (label, marks) in enumerate(zip(planted.series.labels, planted.spikes, strict=True)):
        period, sign = int(label.split()[1].rstrip(",")), int(label.split()[2])
        values = planted.series.values[k, :, 0].numpy()
        centres = np.flatnonzero(np.isclose(values, 2.0 * sign) & marks)
        assert set(np.diff(centres)) == {period}
        assert np.allclose(values[centres - 1], 1.75 * sign)
        assert marks.sum() == 3 * len(centres)


def test_precision_is_that_of_the_spikes_of_the_held_out_series():
    planted = planted_spikes(40, 0)
    found = SeriesGradients(**LONGER)(planted.series)
    rows = [planted.series.names.index(name) for name in found.names]
    truth = torch.from_numpy(planted.spikes[rows]).float()[..., None]
    assert planted.precision(replace(found, importances=truth)) == pytest.approx(np.ones(len(rows)))
    shares = planted.spikes[rows].mean(1)
    assert planted.precision(replace(found, importances=torch.zeros_like(truth))) == pytest.approx(shares)


def test_figures_of_several_sets_are_means():
    row = {"gained": 0.1, "rank": 0.2, "accuracy": 1.0, "auc": None, **dict.fromkeys(bench.GROUPED)}
    recorded = {
        "spikes 0 / timex": {**row, "precision": 0.8, "auc": 0.6, "purity": 0.8},
        "spikes 1 / timex": {**row, "precision": 1.0, "purity": 0.9},
        "trajectories / timex": {**row, "precision": None, "auc": 0.7},
    }
    found = figures_of(recorded, 1.0)
    assert found["precision_timex"] == pytest.approx(0.9)
    assert (found["rows"]["spikes"]["timex"]["auc"], found["auc_timex"]) == (0.6, 0.7)
    assert found["rows"]["spikes"]["timex"]["purity"] == pytest.approx(0.85)
    assert found["rows"]["spikes"]["timex"]["landmarks"] is None


def test_a_stopped_bench_goes_on(tmp_path, monkeypatch):
    asked = []

    def stopping(name, seed, count):
        asked.append(name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        none = dict.fromkeys(("auc", *bench.GROUPED))
        return {"gained": 0.1, "rank": 0.2, "accuracy": 1.0, "precision": 0.5, **none}

    monkeypatch.setattr(bench, "spiked", stopping)
    monkeypatch.setattr(bench, "drawn_series", lambda *given: small(24, 5.0))
    monkeypatch.setattr(bench, "measured", lambda name, seed, series: stopping(name, seed, 0))
    quick = SeriesBench(quick=True, runs=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        quick(progress="none")
    found = quick(progress="none")
    assert len(asked) == 2 + 5
    assert "trajectories" in quick.summary(found)
