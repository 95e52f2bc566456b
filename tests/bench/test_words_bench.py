"""The bench of maps of words: its figures by hand, and its rows on a tiny model."""

import json

import pytest

import tiny
from intaglio.bench.words import bench
from intaglio.bench.words.bench import WordsBench, figures_of
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed


def test_leads_are_over_the_same_prompts_and_roles_are_places_of_words():
    def piece(agreement, others):
        return {"agreement": agreement, "others": others, "name": 0.5, "artist": 0.1, "style": 0.2}

    found = figures_of({"x 0": piece(0.9, 0.1), "x 1": piece(0.1, 0.3)}, ["x"], 2, 1.0)
    assert found["rows"]["x"]["lead"] == pytest.approx(0.3)
    assert found["x_agreement"] == pytest.approx(0.5)
    low, high = found["rows"]["x"]["lead_interval"]
    assert (low, high) == pytest.approx((-0.2, 0.8))
    words = ("red", "cat", "noto", "style")
    assert {role: words[places] for role, places in bench.ROLES.items()} == {
        "name": ("red", "cat"), "artist": ("noto",), "style": ("style",),
    }  # fmt: skip


def test_rows_end_to_end_and_a_stopped_bench_goes_on(tmp_path, monkeypatch):
    pictures = ImageSet.from_pixels(tiny.pixels(4), captions=["cat, dog red"] * 4)
    monkeypatch.setattr(testbed, "real_pictures", lambda: pictures)
    base = tiny.sd_folder(tmp_path / "base")
    monkeypatch.setattr(testbed, "base_path", lambda: base)
    monkeypatch.setattr(bench, "TESTED", 2)
    own = bench.default_methods
    monkeypatch.setattr(bench, "default_methods", lambda verb, **given: own(verb, steps=2, **given))
    asked, ask = [], bench.measured

    def stopping(method, model, prompt):
        asked.append(method.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(method, model, prompt)

    monkeypatch.setattr(bench, "measured", stopping)
    small = WordsBench(runs=tmp_path / "runs", rows=("removal", "cross-attention"), prompts=2)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert len(asked) == 5
    assert found["removal_agreement"] == pytest.approx(1)
    assert found["rows"]["cross-attention"]["agreement"] < 0.99
    assert json.dumps(found)
    assert "cross-attention" in small.summary(found)
    with pytest.raises(BadInput, match="no row called 'daam'; choose from: cross-attention"):
        WordsBench(runs=tmp_path, rows=("daam",))(progress="none")
