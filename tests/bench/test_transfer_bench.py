"""The bench of transfer: its scenes, its figures by hand, and its rows end to end."""

import json

import numpy as np
import pytest

import tiny
from intaglio.bench.transfer import bench
from intaglio.bench.transfer import drawn_kinds as scenes
from intaglio.bench.transfer.bench import TransferBench, figures_of
from intaglio.bench.transfer.drawn_kinds import kind_of
from intaglio.bench.transfer.planted_shift import MEANS, NOISE, OF_S, OF_Z, planted_shift
from intaglio.causal.transfer.environment_rows import EnvironmentRows
from intaglio.causal.transfer.methods.erm import PooledClassifier
from intaglio.causal.transfer.methods.gcrl import GCRL


def test_the_planted_rows_are_what_they_are_said_to_be():
    planted = planted_shift(4000, 0)
    left = planted.rows.features - planted.z @ OF_Z - planted.s @ OF_S
    np.testing.assert_allclose(left.std(0), NOISE, rtol=0.03)
    places = np.array(planted.rows.environments)
    assert {one: round(float(planted.s[places == one].mean())) for one in MEANS} == MEANS
    assert abs(planted.z.mean()) < 0.03


def test_the_exact_posterior_is_that_of_least_squares_on_many_rows():
    planted = planted_shift(20_000, 1)
    places = np.array(planted.rows.environments)
    where = np.flatnonzero(places == "far")
    given = np.c_[planted.rows.features[where], np.ones(len(where))]
    z = given @ np.linalg.lstsq(given, planted.z[where], rcond=None)[0]
    said = (z @ np.array([[1, 0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]]).T).argmax(1)
    right = (said == np.array(planted.rows.outcomes)[where].astype(int)).mean()
    assert planted.best(["far"], where) == pytest.approx(right, abs=0.005)
    assert planted.best(["a", "b", "c"], where) < right - 0.1


def test_kinds_are_told_by_whole_words_of_captions():
    told = [
        kind_of(one)
        for one in ("cat face, noto style", "man: beard, x style", "mantis, face style", "woman-x, y style")
    ]
    assert told == ["face", "person", "other", "person"]


def test_pictures_are_rows_in_one_order_with_their_artists_and_kinds(monkeypatch):
    pixels = tiny.pixels(3, seed=1)[..., :64, :64]
    captions = ["cat face, noto style", "man, open style", "cup, open style"]
    monkeypatch.setattr(scenes, "distinct_pictures", lambda: (["0", "1", "2"], pixels, captions))
    rows = scenes.drawn_kinds(0)
    assert {name: one.features.shape for name, one in rows.items()} == {"classifier": (3, 224), "pixels": (3, 192)}
    for one in rows.values():
        told = dict(zip(one.names, zip(one.environments, one.outcomes, strict=True), strict=True))
        assert told == {"0": ("noto", "face"), "1": ("open", "person"), "2": ("open", "other")}
    place = rows["pixels"].names.index("1")
    assert rows["pixels"].features[place].mean() == pytest.approx(float(pixels[1].mean()), rel=1e-4)


def test_scenes_of_several_artists_are_pooled_too():
    row = {"truth": [0, 1], "said": {"zero-shot": [0, 1]}, "best": 1.0, "best_known": 1.0}
    wrong = {"truth": [0, 1], "said": {"zero-shot": [1, 0]}}
    found = figures_of({"planted 0 erm": row, "pixels a erm": row, "pixels b erm": wrong}, 1.0)
    assert list(found["rows"]) == ["planted", "pixels a", "pixels all", "pixels b"]
    assert found["pixels_all_erm_zero_shot"] == 0.5


def test_figures_by_hand():
    one = {"truth": [0, 0, 1, 1], "said": {"zero-shot": [0, 1, 1, 1]}, "best": 0.9, "best_known": 0.6}
    two = {"truth": [0, 0, 1, 1], "said": {"zero-shot": [0, 0, 1, 1], "refitted": [1, 1, 1, 1]}, "mcc_z": 0.5}
    row = {"truth": [0, 1], "said": {"zero-shot": [0, 1]}}
    found = figures_of({"planted 0 erm": one, "planted 0 gcrl": two, "pixels noto erm": row}, 1.0)
    assert found["planted_erm_zero_shot"] == 0.75
    assert (found["best"], found["best_known"]) == (0.9, 0.6)
    gcrl = found["rows"]["planted"]["gcrl"]
    assert gcrl["mcc_z"] == 0.5
    assert gcrl["stages"]["zero-shot"]["ahead"] == pytest.approx(0.25)
    assert gcrl["stages"]["refitted"]["ahead"] == pytest.approx(-0.25)  # beside erm's last stage, which is zero-shot
    assert "ahead" not in found["rows"]["planted"]["erm"]["stages"]["zero-shot"]
    assert list(found["rows"]) == ["planted", "pixels noto"]


def test_rows_end_to_end_and_a_stopped_bench_goes_on(tmp_path, monkeypatch):
    source = np.random.default_rng(0)
    places = tuple(("noto", "b", "c", "d")[k % 4] for k in range(60))
    said = tuple("xy"[k] for k in source.integers(0, 2, 60))
    rows = EnvironmentRows(tuple(map(str, range(60))), places, said, source.standard_normal((60, 3)))
    monkeypatch.setattr(bench, "COUNT", 30)
    monkeypatch.setattr(bench, "drawn_kinds", lambda seed: dict.fromkeys(bench.FEATURES, rows))
    monkeypatch.setattr(bench, "default_methods", lambda verb, **changes: _few(**changes))
    monkeypatch.setattr(bench, "LABELLED", 2)
    monkeypatch.setattr(bench, "ALIKE", {"labelled": 2, "checks": False})
    asked, ask = [], bench.answers_of

    def stopping(found):
        asked.append(found.method)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(found)

    monkeypatch.setattr(bench, "answers_of", stopping)
    small = TransferBench(quick=True, draws=1, runs=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert len(asked) == 1 + 3 + 3
    assert json.loads(json.dumps(found)) == found
    assert list(found["rows"]["planted"]["gcrl-published"]["stages"]) == ["zero-shot", "refitted", "labelled"]
    assert "best by the known environments" in small.summary(found)


def _few(**changes):
    short = {"updates": 2, "refit_updates": 2, "hidden": 0, "labelled": 2, "checks": False}
    return {"erm": PooledClassifier(**short), "gcrl": GCRL(invariant=2, variant=1, draws=2, **short)}
