"""The bench of protections end to end on a tiny model, its arithmetic, and the plain loop beside AdvDM."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

import tiny
from audit_scenes import model
from intaglio.bench.protect import bench as room
from intaglio.bench.protect import imitators, speed
from intaglio.bench.protect.bench import ProtectBench
from intaglio.bench.protect.figures import mean_of_clean, noise_of_clean, of_arm
from intaglio.bench.protect.plain_loop import plain_advdm
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.protect.imitation import Imitator
from intaglio.protect.methods.advdm import AdvDM


@pytest.fixture
def bench(tmp_path, monkeypatch):
    def few_shot(name: str) -> testbed.FewShot:
        first = 10 * ("one", "two").index(name)
        return testbed.FewShot(*(tiny.some_pictures(first + part, 4) for part in range(5)))

    monkeypatch.setattr(testbed, "sets", lambda: ("one", "two"))
    monkeypatch.setattr(testbed, "few_shot", few_shot)
    brief = {tuner: replace(method, steps=1, batch=1) for tuner, method in room.FINE_TUNES.items()}
    monkeypatch.setattr(imitators, "FINE_TUNES", brief)
    monkeypatch.setattr(room, "FINE_TUNES", brief)
    monkeypatch.setattr(room, "EVALUATIONS", 4)
    monkeypatch.setattr(room, "TIMED", 1)
    monkeypatch.setattr(imitators, "Imitator", partial(Imitator, steps=2))
    monkeypatch.setattr("intaglio.denoising.loss_difference.TIMESTEPS", 2)
    return ProtectBench(
        model=tiny.sd_folder(tmp_path / "base"),
        sets=("one", "two"),
        quick=True,
        drawn=3,
        runs=tmp_path / "runs",
        workers=1,
    )


def test_it_gives_every_wanted_figure_and_goes_on_where_it_was(bench, monkeypatch):
    bench = replace(bench, methods=("advdm", "sds"))
    made, original = [], ProtectBench._imitated

    def counted(self, job):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(job)
        return original(self, job)

    with monkeypatch.context() as patch:
        patch.setattr(ProtectBench, "_imitated", counted)
        with pytest.raises(KeyboardInterrupt):
            bench(progress="none")
    again = []
    monkeypatch.setattr(ProtectBench, "_imitated", lambda self, job: again.append(job) or original(self, job))
    figures = bench(progress="none")
    assert list(figures["by_method"]) == ["random-signs", "advdm", "sds"]
    assert len(made) + len(again) == len({job.key for job, _ in made + again}) == 2 * 2 * 4
    for name, found in figures["by_method"].items():
        assert found["net_protection_worst"] == min(found["net_by_purifier"].values())
        assert figures[f"net_protection_none_{name}"] == found["net_by_purifier"]["none"]
        assert 0 <= found["membership_auc"] <= 1
        if name != "random-signs":
            assert 0 < found["largest_difference"] <= 16
            assert found["seconds_per_image"] > 0
    assert figures["advdm_speedup_vs_reference"] > 0
    assert json.loads(json.dumps(figures, allow_nan=False))["seeds"] == 1
    assert "net_protection_worst" in bench.summary(figures)


def test_random_signs_use_the_whole_budget(tmp_path):
    pictures = tiny.some_pictures(0, 2)
    room._random_signs(pictures, 16.0, tmp_path)
    again = ImageSet.load(tmp_path, pictures.pixels.shape[-1])
    change = (255 * (again.pixels - pictures.pixels)).round()
    assert float(change.abs().max()) == 16
    inside = (again.pixels > 0) & (again.pixels < 1)
    assert set(change[inside].abs().tolist()) == {16.0}
    assert abs(float(change[inside].mean())) < 1.5


def test_all_methods_take_as_many_gradients(bench):
    assert {"advdm", "anti-dreambooth", "mist", "photoguard", "photoguard-diffusion", "sds"} <= set(bench._methods())
    for method in bench._methods().values():
        assert method.steps * method.samples_a_step == room.EVALUATIONS
        assert method.steps * method.step >= room.TRAVEL
        assert method.budget == 16.0


def fine_tune(arm, subject, purifier, seed, value):
    other = {"unlikeness_by_encoder": 2 * value, "membership": value, "roughness": 2.0 if arm == "clean" else 3.0}
    return {"arm": arm, "set": subject, "purifier": purifier, "seed": seed, "unlikeness": value, **other}


def test_net_protection_is_paired_by_set_purifier_and_seed():
    clean = {("a", "none"): (0.1, 0.2), ("a", "blur"): (0.5, 0.5), ("b", "none"): (0, 0), ("b", "blur"): (0, 0)}
    mine = {("a", "none"): (0.4, 0.5), ("a", "blur"): (0.5, 0.6), ("b", "none"): (0.1, 0.2), ("b", "blur"): (0, 0.1)}
    every = [
        fine_tune(arm, *cell, seed, value)
        for arm, values in (("clean", clean), ("x", mine))
        for cell, pair in values.items()
        for seed, value in enumerate(pair)
    ][::-1]
    found = of_arm("x", every, ("none", "blur"))
    net = {"none": (0.3 + 0.3 + 0.1 + 0.2) / 4, "blur": (0 + 0.1 + 0 + 0.1) / 4}
    assert found["net_by_purifier"] == pytest.approx(net)
    assert found["net_by_purifier_by_encoder"] == pytest.approx({name: 2 * value for name, value in net.items()})
    assert (found["worst_purifier"], found["net_protection_none"]) == ("blur", pytest.approx(net["none"]))
    # differences without a purifier: (0.3, 0.3) on a and (0.1, 0.2) on b
    assert found["spread_none"] == pytest.approx(0.1 / 2**0.5 / 2)
    assert found["roughness_ratio"] == pytest.approx(1.5)
    assert found["membership_auc"] == pytest.approx((0.4 + 0.5 + 0.1 + 0.2) / 4)
    # of clean ones (0.1, 0.2) and three pairs of equals
    assert noise_of_clean(every) == pytest.approx(0.1 / 2**0.5 / 4)
    assert mean_of_clean(every, "unlikeness") == pytest.approx((0.1 + 0.2) / 4)
    assert noise_of_clean([one for one in every if not one["seed"]]) is None


def test_advdm_is_timed_with_the_fewest_gradients_that_gain_as_much(monkeypatch):
    net, pictures = model(), tiny.some_pictures(0, 2)
    gains = iter([1.0, 0.5, 0.9, 1.1, 9.9])  # of the plain loop, then of 40, 50, 60% of its gradients
    monkeypatch.setattr(speed, "_loss_gain", lambda *_: next(gains))
    steps = []
    monkeypatch.setattr(speed, "_timed", lambda base, images, method: (steps.append(method.steps) or 2.0, None))
    found = speed.beside_plain_loop(net, pictures, AdvDM(samples=2), 20, 8.0)
    assert steps == [4, 5, 6]
    assert (found["share"], found["gain"], found["seconds"], found["plain_gain"]) == (0.6, 1.1, 2.0, 1.0)


def test_the_plain_loop_raises_the_loss_within_its_budget_and_leaves_the_weights():
    net, picture = model(), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    before = net.fingerprint
    changed = plain_advdm(net, picture, "cat", budget=8.0, step=1.0, steps=3)
    assert 0 < float((changed - picture).abs().max()) <= 8 / 255 + 1e-6
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    assert net.fingerprint == before


def test_bad_input_is_named(bench):
    assert list(replace(bench, methods=("sds", "advdm"))._methods()) == ["advdm", "sds"]
    with pytest.raises(BadInput, match="no protection called 'glaze'; choose from: advdm"):
        replace(bench, methods=("glaze",))(progress="none")
    with pytest.raises(BadInput, match="no few-shot set called 'three'"):
        replace(bench, sets=("three",))(progress="none")
    for name, value in {"seeds": 0, "drawn": 0, "purifiers": ("bleach",), "workers": 0}.items():
        with pytest.raises(ValueError, match=name):
            replace(bench, **{name: value})
