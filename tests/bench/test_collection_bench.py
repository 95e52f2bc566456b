"""The bench of maps: planted boxes of known purity, and the bench on given features."""

import numpy as np
import pytest

from intaglio.bench.collection import bench
from intaglio.bench.collection.bench import CollectionBench, chosen_pictures, figures_of
from intaglio.explain.picture_features import TabledFeatures

NAMES = [f"{k:02d}" for k in range(40)]


def recorded(boxes):
    return {"boxes": dict(zip(NAMES, boxes, strict=True)), "seconds": 1.0}


def test_boxes_of_known_purity_and_their_paired_difference():
    """Of 40 pictures in two kinds: boxes that are the kinds, and boxes with 5 of 20 exchanged."""
    kinds = np.repeat([0, 1], 20)
    mixed = kinds.copy()
    mixed[[0, 1, 2, 3, 4, 20, 21, 22, 23, 24]] ^= 1
    rows = {"dendromap encoder": recorded(kinds.tolist()), "kmeans encoder": recorded(mixed.tolist())}
    figures = figures_of(rows, NAMES, {"artist": [""] * 38 + ["x", "y"], "kind": [f"k{one}" for one in kinds]}, 0, 1.0)
    assert figures["purity_kind_dendromap_encoder"] == figures["information_kind_dendromap_encoder"] == 1.0
    assert figures["purity_kind_kmeans_encoder"] == 0.75
    told = figures["ahead"]["kmeans encoder"]["kind"]
    assert told["difference"] == 0.25
    spread = (0.25 * 0.75 / 40) ** 0.5
    assert told["interval"] == pytest.approx((0.25 - 1.96 * spread, 0.25 + 1.96 * spread), abs=0.03)
    assert "0.750" in CollectionBench().summary(figures)


def test_the_bench_measures_every_method_on_every_kind_of_features(tmp_path, monkeypatch):
    """Given features that are the artists: all methods tell these."""
    images, labels = chosen_pictures(64)
    assert len(set(labels["artist"])) == 4
    codes = np.unique(labels["artist"], return_inverse=True)[1]
    rows = np.eye(4)[codes] * 30 + np.random.default_rng(0).normal(0, 0.1, (64, 4))
    monkeypatch.setattr(bench, "feature_sources", lambda: {"given": TabledFeatures(images.names, rows)})
    asked = CollectionBench(quick=True, pictures=64, boxes=8, runs=tmp_path)
    figures = asked(progress="none")
    assert set(figures["rows"]) == {"dendromap given", "kmeans given", "tsne given"}
    assert figures["purity_artist_dendromap_given"] == figures["purity_artist_kmeans_given"] == 1.0
    assert asked(progress="none") == figures  # it is found


def test_bad_settings_are_refused():
    for wrong in ({"boxes": 1}, {"pictures": 63}, {"pictures": 224}, {"seed": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CollectionBench(**wrong)
