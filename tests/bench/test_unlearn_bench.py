"""The unlearning bench end to end on a tiny model, its prompts, and its count of attacks."""

import json

import numpy as np
import pytest

import tiny
from intaglio.audit.unlearning.methods.ascent import GradientAscent
from intaglio.audit.unlearning.methods.dmm import DatamodelMatching
from intaglio.bench.unlearn import artist_scene, picture_scene, unlearner_row
from intaglio.bench.unlearn import bench as room
from intaglio.bench.unlearn.artist_scene import ANCHOR, ARTISTS, ArtistScene, learned, subjects
from intaglio.bench.unlearn.bench import UnlearnBench
from intaglio.bench.unlearn.figures import figures_of
from intaglio.bench.unlearn.picture_scene import PictureModels, PictureScene, picture_figures, picture_table
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
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


def test_a_quick_bench_leaves_out_further_rows_unless_they_are_named():
    assert set(UnlearnBench()._methods) - set(UnlearnBench(quick=True)._methods) == set(room.NAMED_ONLY)
    assert list(UnlearnBench(quick=True, rows=("esd u",))._methods) == ["esd u"]
    assert list(UnlearnBench(quick=True, rows=("salun",))._methods) == ["salun", "salun whole"]


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
    return UnlearnBench(
        quick=True, rows=("uce subject", "ascent"), regimes=("artist",), runs=tmp_path / "runs", workers=1
    )


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


SCENE = PictureScene(asked=10, steps=1)


def losses(part_of, shift, seed):
    """Losses of a model: noise about one level, lower by `shift` on the pictures that it knows."""
    drawn = 0.1 + 0.001 * np.random.default_rng(seed).normal(size=30)
    return {"losses": (drawn - shift * (np.arange(30) < part_of)).tolist(), "seconds": 1.0}


def test_rows_of_pictures_are_held_against_retrained_models_by_a_permutation_of_models():
    """Of planted losses: one row still knows the pictures, one is as the retrained models, one is spoilt."""
    models = {f"retrained/{seed}": {"retrained": losses(0, 0, seed)} for seed in range(8)}
    models |= {
        f"tuned/{seed}": {
            "untouched": {"losses": losses(10, 0.05, 20 + seed)["losses"]},
            "good": {**losses(0, 0, 40 + seed), "facts": {"gradient_share": 0.5}},
            "spoilt": losses(30, -0.05, 60 + seed),
        }
        for seed in range(4)
    }
    rows = picture_figures(models, SCENE, 4)
    assert list(rows) == ["retrained", "untouched", "good", "spoilt"]
    knows, good, spoilt = rows["untouched"], rows["good"], rows["spoilt"]
    assert knows["kl_forget_p"] <= 2 / 70, "of 70 deals the planted one, and at most its mirror"
    assert knows["kl_forget"] > 20 * knows["kl_forget_null"] / 10
    assert min(knows["kl_retain_p"], good["kl_forget_p"], rows["retrained"]["kl_forget_p"]) > 2 / 70
    assert spoilt["kl_held_p"] <= 2 / 70
    assert knows["auc"] == 1.0
    assert knows["auc_off"] > 0.3 > good["auc_off"]
    assert knows["loss_forget_ratio"] == pytest.approx(0.5, abs=0.02)
    assert spoilt["loss_retain_ratio"] == pytest.approx(1.5, abs=0.02)
    assert good["gradient_share"] == 0.5
    assert "seconds" not in knows
    table = picture_table(rows).splitlines()
    assert [line.split()[0] for line in table] == ["pictures", "untouched", "good", "spoilt", "retrained"]


def test_the_forgotten_are_of_every_kind_and_no_part_shares_a_picture():
    scene, parts = PictureScene(asked=30, steps=1), SCENE.parts()
    assert len(scene.forget) == 10
    assert sorted(scene.forget + scene.retain) == list(range(40))
    assert len({place // 10 for place in scene.forget}) == 4
    assert [len(range(30)[places]) for places in parts.values()] == [10, 10, 10]
    assert scene.parts()["held"] == slice(40, 70)


def test_models_are_kept_one_by_one_and_rows_choose_the_regime(tmp_path, monkeypatch):
    made = []

    def rows(self, job):
        made.append(job)
        names = ["retrained"] if job[0] == "retrained" else ["untouched", "dmm"]
        return {name: losses(0, 0, 100 * len(name) + job[1]) for name in names}

    monkeypatch.setattr(UnlearnBench, "_model_rows", rows)
    bench = UnlearnBench(quick=True, rows=("dmm",), runs=tmp_path, workers=1)
    assert bench._regimes == ("pictures",)
    assert UnlearnBench(rows=("uce",))._regimes == ("artist",)
    assert UnlearnBench()._regimes == ("artist", "pictures")
    assert UnlearnBench(quick=True)._regimes == ("artist",)
    assert UnlearnBench(quick=True, regimes=("pictures", "artist"))._regimes == ("artist", "pictures")
    figures = bench(progress="none")
    assert made == [*(("tuned", seed) for seed in range(3)), *(("retrained", seed) for seed in range(6))]
    assert sorted(figures["pictures"]) == ["dmm", "retrained", "untouched"]
    assert json.dumps(figures)
    assert bench.summary(figures).startswith("pictures")


def test_a_model_of_the_regime_is_tuned_unlearned_and_measured(tmp_path, monkeypatch):
    net, images = load_model(tiny.sd_folder(tmp_path / "base")), tiny_images(8)
    for name in ("members", "holdouts"):
        monkeypatch.setattr(picture_scene, name, lambda: images)
    monkeypatch.setattr(picture_scene, "measured", lambda model, asked: np.arange(float(len(asked))))
    options = {"steps": 1, "batch": 1}
    methods = {"dmm": DatamodelMatching(timesteps=1, draws=1, **options), "ascent": GradientAscent(**options)}
    scene = PictureScene(asked=2, steps=1)
    tuned = []
    monkeypatch.setattr(PictureScene, "tuned", lambda self, base, places, seed: tuned.append(len(places)) or base)
    models = PictureModels(scene, net, methods)
    found = models.having(0)
    assert list(found) == ["untouched", "dmm", "ascent"]
    assert len(found["dmm"]["losses"]) == 2 + 2 + 2
    assert found["dmm"]["facts"]["gradient_share"] < 1
    assert list(models.without(0)) == ["retrained"]
    assert tuned == [8, 6]


def tiny_images(count):
    names, captions = [f"{k}.png" for k in range(count)], ["red cat", "dog"] * (count // 2)
    return ImageSet.from_pixels(tiny.pixels(count), names, captions)


def test_bad_input_is_told():
    with pytest.raises(BadInput, match="no row 'x'; choose from: ablate"):
        UnlearnBench(rows=("x",))
    with pytest.raises(BadInput, match="no regime 'x'; choose from: artist, pictures"):
        UnlearnBench(regimes=("x",))
    with pytest.raises(BadInput, match="no artist 'noto'; choose from: openmoji, twemoji"):
        UnlearnBench(artists=("noto",))
    with pytest.raises(ValueError, match="seed must be"):
        UnlearnBench(seed=-1)
