"""The bench of blind spots: specific concepts and their separation by hand, and the bench on a tiny model."""

import numpy as np
import pytest

import tiny
from intaglio.bench.blindspots import bench as room
from intaglio.bench.blindspots.bench import BlindSpotsBench, figures_of
from intaglio.bench.blindspots.unseen_artist import UnseenArtist, separation_of, share, specific
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed


def test_specific_concepts_have_twice_the_energy_of_the_other_side():
    source = np.random.default_rng(0)
    own, known = 1 + source.random((60, 4)), 1 + source.random((50, 4))
    own[:, 0] *= 3
    known[:, 1] *= 3
    own[:, 2] *= 1.3  # sure, and too little
    own[:, 3] = known[:, 3] = 0
    own[0, 3] = 1e3  # much, and not sure
    ours, theirs = specific(own, known)
    assert ours.tolist() == [True, False, False, False]
    assert theirs.tolist() == [False, True, False, False]


def test_separation_by_hand():
    real = np.array([[4.0, 1.0, 2.0, 1.0]] * 6)
    other = np.array([[1.0, 2.0, 1.0, 0.4]] * 6)
    ours, theirs = np.array([True, False, True, False]), np.array([False, True, False, True])
    # Log ratios of theirs: log 2, log 0.4; of ours log 1/4, log 1/2: three of four pairs are in order.
    assert separation_of(real, other, ours, theirs, 0) == [0.75, 0.75, 0.75]
    assert separation_of(real, other, ours, ~ours & ~theirs, 0) == [None, None, None]
    assert share({0: "suppressed", 2: ""}, ours, "suppressed") == 0.5
    assert share({}, ~ours & ours, "suppressed") is None


def test_the_bench_measures_rows_by_scale_and_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    def some(count, seed):
        return ImageSet.from_pixels(tiny.pixels(count, seed)[..., :16, :16], captions=["x"] * count)

    wide, own, known = some(8, 0), some(4, 1), some(6, 2)
    monkeypatch.setattr(testbed, "base_path", lambda: tiny.sd_folder(tmp_path / "base"))
    monkeypatch.setattr(testbed, "sets", lambda: ("one",))
    monkeypatch.setattr(testbed, "few_shot", lambda name: testbed.FewShot(own, own, own, own, own))
    monkeypatch.setattr(testbed, "controls_wide", lambda: wide)
    monkeypatch.setattr(testbed, "real_pictures", lambda: known)
    monkeypatch.setattr(room, "QUICK_PAIRS", 3)
    bench = BlindSpotsBench(quick=True, rows=("channels",), guidance=(1.0, 2.0), runs=tmp_path / "runs")
    row, asked = UnseenArtist.row, []

    def stopped(self, method, pairs):
        if asked:
            raise KeyboardInterrupt
        asked.append(method.name)
        return row(self, method, pairs)

    monkeypatch.setattr(UnseenArtist, "row", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench(progress="none")
    monkeypatch.setattr(UnseenArtist, "row", lambda *given: asked.append("again") or row(*given))
    figures = bench(progress="none")
    assert asked == ["channels", "again"]
    found = figures["rows"]["channels"]
    assert set(found) == {"1", "2"}
    assert found["1"]["pairs"] == 3
    assert figures["auc_channels_1"] == found["1"]["auc"][0]
    assert "Noto's suppressed" in bench.summary(figures)
    with pytest.raises(BadInput, match=r"no row called 'x'; choose from: channels, dictionary, dictionary free"):
        BlindSpotsBench(rows=("x",))()
    with pytest.raises(ValueError, match="guidance must be scales"):
        BlindSpotsBench(guidance=())


def test_blind_spots_found_are_the_suppressed_ones_of_those_that_were_planted():
    row = {"auc": [0.9, 0.8, 1.0], "unseen": 8, "suppressed": 0.75}
    found = figures_of({"dictionary at 3": row, "channels at 3": {**row, "unseen": 99}}, 1.0)
    assert (found["blind_spots_found"], found["blind_spots_planted"]) == (6, 8)
    assert figures_of({"channels at 3": row}, 1.0)["blind_spots_planted"] is None
    assert figures_of({"dictionary at 3": {**row, "suppressed": None}}, 1.0)["blind_spots_found"] == 0
