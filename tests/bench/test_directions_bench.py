"""The bench of directions end to end on a tiny model, and its figures by hand."""

import json

import numpy as np
import pytest
import torch

import tiny
from intaglio.bench.directions import bench as room
from intaglio.bench.directions.bench import DirectionsBench
from intaglio.bench.directions.led_figures import led_figures, row_figures
from intaglio.errors import BadInput
from intaglio.explain.directions.result import Directions, LedPictures
from intaglio.models import testbed


@pytest.fixture
def small(tmp_path, monkeypatch):
    base = tiny.sd_folder(tmp_path / "base")
    monkeypatch.setattr(testbed, "base_path", lambda: base)
    monkeypatch.setattr(room, "QUICK_SAMPLES", 8)
    monkeypatch.setattr(room, "QUICK_PICTURES", 4)
    monkeypatch.setattr(room, "QUICK_JACOBIAN", {"steps": 2})
    rows = ("labelled mid_block", "latent-pca", "h-space mid_block")
    return DirectionsBench(quick=True, rows=rows, runs=tmp_path / "runs")


def test_rows_of_one_site_share_its_walks_and_the_bench_goes_on_where_it_was_stopped(small, monkeypatch):
    led, asked = room.lead_pictures, []

    def stopping(model, directions, *args, **options):
        asked.append(directions.method)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return led(model, directions, *args, **options)

    monkeypatch.setattr(room, "lead_pictures", stopping)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert asked == ["latent-pca", "h-space", "h-space", "labelled"]  # by site
    assert len(small.summary(found).splitlines()) == 4
    assert json.dumps(found)
    assert found["change_labelled_mid_block"] == found["rows"]["labelled mid_block"]["change"]
    (run,) = small.runs.glob("bench-directions-*")
    assert not list((run / "states").glob("*"))


def test_a_row_that_there_is_not_is_refused():
    with pytest.raises(BadInput, match="no row called 'labelled'; choose from: h-space mid_block"):
        DirectionsBench(rows=("labelled",))()


def test_a_direction_is_chosen_on_half_of_the_pictures_and_measured_on_the_others():
    """Slopes by direction and picture: the second falls on pictures 0 and 2, and by less on 1 and 3."""
    slopes = np.array([[1.0, 9.0, 1.0, 9.0], [-4.0, -2.0, -4.0, -3.0], [0.5, 0.1, 0.5, -0.5]])
    levels = np.array([-1.0, 0.0, 1.0])
    scores = slopes[:, None] * levels[:, None]
    similarity = np.ones_like(scores)
    similarity[1, 0, [1, 3]] = 0.6
    shifts = torch.zeros(1, 2, 2, 3, 1, 1)
    nothing = (float("nan"),) * 2
    found = Directions("h-space", "one", "one", "", "m", "mid_block", 2, 1.0, shifts, nothing, nothing)
    led = LedPictures(found, ("",) * 4, (1, 2, 3, 4), (-1.0, 0.0, 1.0), "x", scores, similarity)
    one = led_figures(led, chosen=True)
    assert (one["direction"], one["changes"], one["change"]) == (2, [4.0, 6.0], 5.0)
    assert one["control"] == pytest.approx(0.4)
    assert (one["rank"], one["trend"], one["kept"], one["kept_control"]) == (1.0, 1.0, 0.8, 1.0)
    assert led_figures(led, chosen=False)["changes"] == [18.0, 18.0]
    row = row_figures([one, {**one, "change": 1.0}])
    assert row["change"] == 3.0
    assert row["interval"][0] >= 4.0
