"""The fine-tune bench end to end on a tiny model: what it measures, and that a stopped one goes on."""

import json
from dataclasses import replace

import pytest
import torch

import tiny
from intaglio.adapt import watching
from intaglio.adapt.data import generate_class_images
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.settings import Watch
from intaglio.bench.finetune import bench as room
from intaglio.bench.finetune import exact_figures, exact_grid, finetune_measures
from intaglio.bench.finetune.bench import FineTuneBench
from intaglio.bench.finetune.exact_grid import ExactGrid
from intaglio.bench.finetune.exact_stage import ExactRegime
from intaglio.bench.finetune.regime import FORMS, TUNERS, USUAL, FewShotRegime
from intaglio.bench.kit.suspects import PAPER
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model

WANTED = {"dip_plain", "dip_bayes", "dip_reduction", "fidelity_gain", "time_overhead"}
SETS = ("one", "two", "mammals")
METHODS = list(TUNERS)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    def few_shot(name):
        parts = [ImageSet.from_pixels(tiny.pixels(4, seed=10 * SETS.index(name) + part)) for part in range(5)]
        return testbed.FewShot(*parts)

    monkeypatch.setattr(testbed, "sets", lambda: SETS)
    monkeypatch.setattr(testbed, "few_shot", few_shot)
    monkeypatch.setattr(room, "USUAL", replace(USUAL, steps=3, every=1))
    monkeypatch.setattr(DreamBooth, "bench", {"learning_rate": 1e-2, "sigma": 0.03})
    small = {"learning_rate": 0.1, "sigma": 0.01, "rank": 2, "targets": ("to_q", "to_v")}
    monkeypatch.setattr(LoRATuning, "bench", small)
    monkeypatch.setattr(room, "QUICK_STEPS", 2)
    monkeypatch.setattr(finetune_measures, "TIMED_STEPS", 1)
    monkeypatch.setattr(finetune_measures, "TURNS", 2)
    monkeypatch.setattr(
        FewShotRegime, "watch", lambda self: Watch(sample_count=0, watch_every=self.every, watch_count=2, watch_steps=1)
    )
    monkeypatch.setattr(watching, "load_similarity", lambda *_: load_similarity("ssim"))
    return FineTuneBench(model=tiny.sd_folder(tmp_path / "base"), runs=tmp_path / "runs", workers=1, seeds=1)


def test_it_gives_every_wanted_figure_and_goes_on_where_it_was(bench, monkeypatch):
    made, original, stops = [], room.judged, [True]

    def counted(base, data, regime, name, seed, forms):
        if stops and len(made) == 2:
            raise KeyboardInterrupt
        made.append((forms, name, seed))
        return original(base, data, regime, name, seed, forms)

    monkeypatch.setattr(room, "judged", counted)
    with pytest.raises(KeyboardInterrupt):
        bench(progress="none")
    stops.clear()
    figures = bench(progress="none")
    wanted = [(forms, name, seed) for forms in (("plain", "bayes"), ("ema",)) for name in METHODS for seed in (0, 1)]
    assert sorted(made) == sorted(wanted)
    assert figures.keys() >= WANTED
    json.dumps(figures, allow_nan=False)
    pairs = figures["by_pair"]
    depths = {label: sum(pair[label]["dip"] for pair in pairs.values()) / 4 for label in ("plain", "bayes", "ema")}
    assert figures["dip_plain"] == pytest.approx(depths["plain"])
    assert figures["dip_bayes"] == pytest.approx(depths["bayes"])
    assert figures["dip_reduction"] == pytest.approx(1 - depths["bayes"] / max(depths["plain"], 1e-9))
    assert figures["dip_reduction_ema"] == pytest.approx(1 - depths["ema"] / max(depths["plain"], 1e-9))
    gains = [pair["bayes"]["final"] - pair["plain"]["final"] for pair in pairs.values()]
    assert figures["fidelity_gain"] == pytest.approx(sum(gains) / 4)
    assert figures["fidelity_gain_low"] <= figures["fidelity_gain"] <= figures["fidelity_gain_high"]
    assert len(pairs["lora/one/0"]["plain"]["fidelity_curve"]) == 4
    assert all(figures["by_tuner"][kind]["memory_overhead"] > 0 for kind in METHODS)
    assert list(figures["by_tuner"]) == METHODS
    assert pairs.keys() == {f"{name}/{key}" for name in METHODS for key in ("one/0", "two/1")}
    assert figures["regime"]["learning_rate"] == {"dreambooth": 1e-2, "lora": 0.1}
    assert "dreambooth dip_reduction" in bench.summary(figures)


def test_what_settings_were_chosen_on_is_left_out_unless_it_is_named(bench):
    assert bench._sets() == ("one", "two")
    assert replace(bench, sets=("mammals",))._sets() == ("mammals",)
    assert replace(bench, quick=True)._sets() == ("one",)
    assert {job.seed for job in replace(bench, quick=True, seeds=5)._jobs()} == {0}


def test_plain_and_the_others_differ_in_one_thing_alone():
    for name in METHODS:
        plain, bayes, mean = (USUAL.tuner(name, 3, form) for form in FORMS)
        assert (plain.learning_rate, plain.steps, plain.seed) == (type(plain).bench["learning_rate"], 240, 3)
        assert bayes.sigma == type(plain).bench["sigma"]
        assert replace(mean, ema=None) == plain != mean
        assert replace(bayes, bayesian=False, sigma=plain.sigma, kl_weight=0.0, **_idle(plain)) == plain


def _idle(plain):
    return {name: getattr(plain, name) for name in ("kl_direction", "kl_reduction", "prior_sigma")}


def test_every_seed_has_pictures_of_its_own(monkeypatch):
    members = ImageSet.from_pixels(torch.rand(10, 3, 8, 8))
    monkeypatch.setattr(testbed, "few_shot", lambda name: testbed.FewShot(*[members] * 5))
    taken = [finetune_measures.training_set("x", 2, seed).images.hashes for seed in range(5)]
    assert sorted(content for part in taken for content in part) == sorted(members.hashes)


def test_another_regime_is_what_was_asked_for():
    asked = FineTuneBench(
        tuners=("lora",), pictures=4, class_pictures=8, steps=1500, rate=1e-3, sigma=0.1, down="gaussian"
    )
    regime, (kind, *others) = asked._regime(), {job.tuner for job in asked._jobs()}
    assert (kind, others) == ("lora", [])
    assert (regime.pictures, regime.class_pictures, regime.steps, regime.every) == (4, 8, 1500, 60)
    plain, bayes = (regime.tuner("lora", 0, label) for label in ("plain", "bayes"))
    assert (plain.learning_rate, plain.steps, plain.prior_weight, bayes.sigma) == (1e-3, 1500, 1.0, 0.1)
    assert plain.down == bayes.down == "gaussian"
    assert FineTuneBench()._regime() == USUAL
    assert replace(asked, steps=None, quick=True)._regime().steps == room.QUICK_STEPS


def test_class_pictures_are_the_bases_own_and_the_same_for_all(bench, monkeypatch):
    seen, original = [], room.judged
    monkeypatch.setattr(room, "judged", lambda *a: seen.append(a[1]) or original(*a))
    figures = replace(bench, tuners=("dreambooth",), class_pictures=2)(progress="none")
    assert list(figures["by_tuner"]) == ["dreambooth"]
    assert len(seen) == 4
    assert {data.class_prompts for data in seen} == {("style", "style")}
    assert len({data.class_images.hashes for data in seen}) == 1
    drawn = generate_class_images(load_model(bench.model), "style", 2, 0)
    assert seen[0].class_images.hashes == drawn.hashes


def test_bad_input_is_named(bench):
    with pytest.raises(BadInput, match="one has 4 pictures, and 5 are wanted; take fewer with --pictures"):
        replace(bench, pictures=5)(progress="none")
    wrong = {"tuners": (), "pictures": 0, "class_pictures": -1, "steps": 0, "rate": 0.0, "sigma": float("nan")}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name):
            replace(bench, **{name: value})
    with pytest.raises(BadInput, match="no few-shot set called 'three'; choose from: one, two, mammals"):
        replace(bench, sets=("three",))(progress="none")
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        FineTuneBench(seeds=0)
    with pytest.raises(ValueError, match="tuners must name at least one method, and each of dreambooth, lora"):
        FineTuneBench(tuners=("lora", "nothing"))


def test_points_are_a_ground_of_their_own_and_a_stopped_grid_goes_on(tmp_path, monkeypatch):
    plain = ExactRegime(rate=3e-3, steps=2)
    small = ExactGrid(1, 2, (plain, replace(plain, optimiser="sgd", rate=1e30, dropout=0.5)), (0.1,))
    monkeypatch.setattr(room, "quick_grid", lambda: small)
    monkeypatch.setattr(exact_figures, "TIMES", (0.0, 1.0))
    made, original, stops = [], exact_grid.exact_course, [True]

    def counted(base, regime):
        if stops and len(made) == 4:
            raise KeyboardInterrupt
        made.append(regime)
        return original(base, regime)

    monkeypatch.setattr(exact_grid, "exact_course", counted)
    bench = FineTuneBench(ground="points", quick=True, runs=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        bench(progress="none")
    stops.clear()
    figures = bench(progress="none")
    assert made == [regime for _, _, regime in small.jobs()]
    json.dumps(figures, allow_nan=False)
    first, second = (figures["by_regime"][exact_grid.name_of(regime)] for regime in small.regimes)
    assert list(first) == ["plain", "sigma 0.1", "ema"]
    assert second["plain"] == {"diverged": 1.0}
    ratio = first["ema"]["guidance 5"]["dip"] / max(first["plain"]["guidance 5"]["dip"], 1e-9)
    assert figures["dip_reduction_ema_guidance_5"] == pytest.approx(1 - ratio, abs=1e-4)
    assert "diverged in every world" in bench.summary(figures)


def test_the_grid_of_points_is_the_published_one():
    """The regimes of the docs: six rates by four counts, two too high, four with hidden labels, two long ones."""
    full = exact_grid.full_grid()
    assert len(full.regimes) == len({exact_grid.name_of(regime) for regime in full.regimes}) == 6 * 4 + 2 + 4 + 2
    assert len(list(full.jobs())) == 32 * 5
    assert all(regime.sigma == 0 and regime.ema is None for regime in full.regimes)
    assert set(exact_grid.quick_grid().sigmas) <= set(full.sigmas)
    for name, value in {"sets": ("one",), "rate": 1e-3, "pictures": 2, "seeds": 3}.items():
        with pytest.raises(ValueError, match=f"{name} acts only with ground pictures"):
            FineTuneBench(ground="points", **{name: value})


def test_the_usual_settings_are_the_published_ones():
    """The rates and sigmas of docs/benchmarks.md, and the LoRA of the audit bench's `paper` regime."""
    assert USUAL.described(METHODS)["learning_rate"] == {"dreambooth": 2e-4, "lora": 4e-3}
    assert USUAL.described(METHODS)["sigma"] == {"dreambooth": 0.03, "lora": 0.01}
    lora = USUAL.tuner("lora", 0, "plain")
    assert (lora.rank, lora.targets) == (PAPER.rank, PAPER.targets)
    assert (USUAL.pictures, USUAL.steps, USUAL.every, USUAL.ema) == (1, 240, 24, 0.95)
