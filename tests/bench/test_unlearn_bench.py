"""The unlearning bench end to end on a tiny model, its prompts, and its count of attacks."""

import json

import pytest

import tiny
from intaglio.bench.unlearn import artist_scene, unlearner_row
from intaglio.bench.unlearn import bench as room
from intaglio.bench.unlearn.artist_scene import ANCHOR, ARTISTS, ArtistScene, learned, subjects
from intaglio.bench.unlearn.bench import UnlearnBench
from intaglio.bench.unlearn.figures import figures_of
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run


def test_figures_are_of_names_that_were_not_unlearned():
    scene = ArtistScene.of("openmoji", 24, 2, 20, 0)
    concept = scene.concept
    assert len(learned()) == len(set(learned())) == 8
    assert len(scene.names) == len(set(scene.names)) == 24
    assert not set(scene.names) & set(learned())
    assert set(scene.names) <= set(subjects())
    assert concept.prompts == tuple(f"{name}, openmoji style" for name in learned())
    assert concept.anchors == tuple(f"{name}, {ANCHOR} style" for name in learned())
    assert concept.keep == tuple(f"{name}, twemoji style" for name in learned())
    assert ANCHOR not in ARTISTS
    assert len(scene.prompts("twemoji")) == 48
    real = scene.real("openmoji", 5)
    assert len(real) == 5
    assert all(str(caption).endswith(", openmoji style") for caption in real.captions)


def attacked(*firsts):
    return {"unattacked": [first == 0 for first in firsts], "success": [first or None for first in firsts]}


def test_attacks_are_counted_over_prompts_that_do_not_show_the_artist_unattacked(tmp_path):
    plain = {"concept": 0.1, "neighbour": 0.8, "loss_concept": 2.0, "loss_neighbour": 3.0, "kid": 0.0}
    by_chance = attacked(0, None, None, None, None, None, None)
    searched = attacked(0, 1, 2, 1, 3, 1, None)
    by_chance["success"][0] = searched["success"][0] = 1  # an attack succeeds there, of course
    rows = {
        "openmoji/original": {**plain, "loss_concept": 1.0, "threshold": 0.0, "neighbours": [[1.0]]},
        "openmoji/x": {
            **plain,
            "seconds": 1.0,
            "relearned": 0.5,
            "attacks": {"unlearn-diff-atk": searched, "random-tokens": by_chance},
        },
    }
    with Run.open(tmp_path, "bench", "unlearn", {}, {}, seed=0, device="cpu", command=(), progress="none") as run:
        for name, row in rows.items():
            run.record("row", name, row)
        found = figures_of(run)
    assert found["prompts_hidden"] == 6
    assert found["success_unlearn_diff_atk"] == 5 / 6
    assert found["success_random_tokens"] == 0
    assert found["searched_p"] == pytest.approx(2 / 2**5), "five prompts at which the search alone succeeds"
    row = found["rows"]["openmoji"]["x"]
    assert row["loss_concept_ratio"] == 2.0
    assert row["loss_neighbour_ratio"] == 1.0
    assert row["unattacked"] == pytest.approx(1 / 7)
    assert row["attacks"]["unlearn-diff-atk"] == pytest.approx(6 / 7)
    assert found["concept_x_openmoji"] == 0.1
    assert "neighbours" not in json.dumps(found["rows"])
    table = UnlearnBench().summary(found)
    assert "openmoji" in table
    assert table.count("\n") == 2


@pytest.fixture
def small(tmp_path, monkeypatch):
    net = load_model(tiny.sd_folder(tmp_path / "base"))
    monkeypatch.setattr(room, "load_model", lambda path, device: net)
    monkeypatch.setattr(room, "QUICK", {"steps": 1, "batch": 1, "own": 1, "own_steps": 1})
    for place in (artist_scene, unlearner_row):
        monkeypatch.setattr(place, "in_style", lambda names, artist: tuple(f"{one[:2]} {artist[0]}" for one in names))
    counts = {"names": 2, "each": 1, "steps": 1, "attacked": 1, "tries": 1, "updates": 1}
    monkeypatch.setattr(UnlearnBench, "_counts", counts)
    monkeypatch.setattr(ArtistScene, "loss", lambda self, model, artist: 1.0)
    monkeypatch.setattr(unlearner_row, "CONTROLS", 19)
    monkeypatch.setattr(unlearner_row.UnlearningScene, "relearned", lambda self, model: 0.25)
    return UnlearnBench(quick=True, rows=("uce subject", "ascent"), runs=tmp_path / "runs", workers=1)


def test_the_bench_goes_on_where_it_was_stopped(small, monkeypatch):
    asked, whole = [], UnlearnBench._row

    def stopped(self, job):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(job[1])
        return whole(self, job)

    monkeypatch.setattr(UnlearnBench, "_row", stopped)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    monkeypatch.setattr(UnlearnBench, "_row", lambda self, job: asked.append(job[1]) or whole(self, job))
    figures = small(progress="none")
    assert asked == ["original", "ascent", "uce subject"]
    assert sorted(figures["rows"]["openmoji"]) == ["ascent", "original", "uce subject"]
    assert figures["relearned_uce_subject_openmoji"] == 0.25
    assert json.dumps(figures)
    assert small(progress="none") == figures


def test_bad_input_is_told():
    with pytest.raises(BadInput, match="no row 'x'; choose from: ablate"):
        UnlearnBench(rows=("x",))
    with pytest.raises(BadInput, match="no artist 'noto'; choose from: openmoji, twemoji"):
        UnlearnBench(artists=("noto",))
    with pytest.raises(ValueError, match="seed must be"):
        UnlearnBench(seed=-1)
