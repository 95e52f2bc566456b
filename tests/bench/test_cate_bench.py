"""The bench of effects that differ: its trials, its figures by hand, and its rows end to end."""

import json

import numpy as np
import pytest

from intaglio.bench.cate import bench
from intaglio.bench.cate.bench import CateBench, figures_of
from intaglio.bench.cate.picture_trials import GAINS, GainingPictures


def planted(count=80):
    source = np.random.default_rng(0)
    features = source.standard_normal((count, 3))
    gains = (features[:, 0] > 0).astype(float)
    names = tuple(f"u{k}" for k in range(count))
    return GainingPictures(
        names, gains, features[:, 1], {"encoder": features, "classifier": features[:, :2], "colour": features[:, 1:]}
    )


def test_who_gains_is_told_by_whole_words_of_captions():
    assert [GAINS["face"](one) for one in ("cat face, noto style", "faces, noto style", "typeface, x style")] == [
        True,
        False,
        False,
    ]
    assert GAINS["noto"]("cat, noto style")
    assert not GAINS["noto"]("noto, fluent style")


def test_a_trial_has_the_effect_that_its_pictures_gain():
    pictures = planted(20_000)
    units = pictures.trial("colour", 3, 0)
    assert units.features.shape == (20_000, 2)
    left = units.outcome - pictures.base - units.treated * pictures.gains
    assert left.std() == pytest.approx(0.5, rel=0.03)
    assert abs(np.corrcoef(left, units.treated)[0, 1]) < 0.03
    assert (pictures.trial("colour", 4, 0).treated != units.treated).any()


def test_figures_by_hand():
    row = {"autoc": [0.1, 0.3], "p": [0.01, 0.2], "error": [4.0, 4.0], "alike": [1.0, 9.0], "best": 0.5, "seconds": 1.0}
    found = figures_of({"face t-learner encoder": row}, 1.0)
    assert found["autoc_face_t_learner_encoder"] == pytest.approx(0.2)
    assert found["error_face_t_learner_encoder"] == 1
    assert found["rows"]["face"]["t-learner encoder"]["power"] == 0.5


def test_rows_end_to_end_and_a_stopped_bench_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESAMPLES", 50)
    monkeypatch.setattr(bench, "gaining_pictures", lambda: {name: planted() for name in GAINS})
    monkeypatch.setattr(bench, "default_methods", lambda verb, **changes: _few(**changes))
    asked, ask = [], bench.measured

    def stopping(method, pictures, source, count, seed):
        asked.append((method.name, source))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(method, pictures, source, count, seed)

    monkeypatch.setattr(bench, "measured", stopping)
    small = CateBench(trials=2, runs=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert len(asked) == 13
    assert json.loads(json.dumps(found)) == found
    assert found["rows"]["face"]["constant colour"]["autoc"] == pytest.approx(0, abs=0.05)
    assert "t-learner encoder" in small.summary(found)


def _few(**changes):
    from intaglio.causal.cate.methods.constant import ConstantEffect
    from intaglio.causal.cate.methods.t_learner import TLearner

    return {"t-learner": TLearner(**changes), "constant": ConstantEffect(**changes)}
