"""The bench of patched components: its pairs and figures by hand, and its rows on a tiny model."""

import json

import pytest

import tiny
from intaglio.bench.patching import bench
from intaglio.bench.patching.bench import PatchingBench, figures_of, prompt_pairs
from intaglio.errors import BadInput
from intaglio.explain.components.methods.attribution_patching import AttributionPatching
from intaglio.explain.components.methods.relp import RelevancePatching
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed


def test_pairs_differ_in_turn_in_the_name_the_artist_and_all():
    captions = ["cat, noto style", "dog, twemoji style", "red, hen, noto style"]
    assert prompt_pairs(captions, 3) == [
        ("cat, noto style", "dog, noto style"),
        ("dog, twemoji style", "dog, noto style"),
        ("red, hen, noto style", ""),
    ]


def test_errors_are_means_of_1_minus_pearson_and_the_gain_is_over_the_same_pairs():
    def pair(relp, plain):
        kinds = dict.fromkeys(bench.MEASURED, 0.5)
        rows = {"relp": relp, "attribution-patching": plain}
        told = {name: {**kinds, "feed-forward": r, "ranks": 0.25, "seconds": 2.0} for name, r in rows.items()}
        return {**told, "point": {"distance": 0.1, "branches": 7, "channels": 28}}

    methods = {"relp": RelevancePatching(), "attribution-patching": AttributionPatching()}
    found = figures_of({"0": pair(0.9, 0.3), "1": pair(0.5, 0.7)}, methods, 1.0)
    assert found["relp_error"] == pytest.approx(0.3)
    assert found["attribution_patching_error"] == pytest.approx(0.5)
    assert found["relp_gain"] == pytest.approx(0.2)
    assert found["relp_gain_interval"] == pytest.approx([-0.2, 0.6])
    assert found["rows"]["relp"]["rank_error"] == pytest.approx(0.75)
    assert found["exact_passes"] == 30
    assert found["rows"]["relp"]["passes"] == 4


def test_rows_end_to_end_and_a_stopped_bench_goes_on(tmp_path, monkeypatch):
    captions = ["cat, red", "dog, a"] * 2
    monkeypatch.setattr(testbed, "real_pictures", lambda: ImageSet.from_pixels(tiny.pixels(4), captions=captions))
    base = tiny.sd_folder(tmp_path / "base")
    monkeypatch.setattr(testbed, "base_path", lambda: base)
    monkeypatch.setattr(bench, "MEASURED", {"feed-forward": 6, "resnet": 4})
    own = bench.default_methods
    monkeypatch.setattr(bench, "default_methods", lambda verb, **given: own(verb, steps=1, points=1, **given))
    asked, ask = [], bench.measured

    def stopping(methods, point, draw):
        asked.append(int(point.t))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(methods, point, draw)

    monkeypatch.setattr(bench, "measured", stopping)
    small = PatchingBench(runs=tmp_path / "runs", rows=("relp", "attribution-patching"), pairs=2)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert asked == [749, 250, 250]
    assert 0 <= found["attribution_patching_error"] < 0.2  # a tiny random model is nearly linear
    assert json.dumps(found)
    assert "attribution-patching" in small.summary(found)
    with pytest.raises(BadInput, match="no row called 'activation-patching'; choose from: attribution-patching"):
        PatchingBench(runs=tmp_path, rows=("activation-patching",))(progress="none")
