"""The bench of protections end to end on a tiny model, its arithmetic, and the plain loop beside AdvDM."""

import json
from dataclasses import replace

import pytest
import torch

import tiny
from audit_scenes import model
from intaglio.bench.kit import suspects
from intaglio.bench.protect import bench as room
from intaglio.bench.protect.bench import ProtectBench, _noise, _of_method
from intaglio.bench.protect.plain_loop import plain_advdm
from intaglio.errors import BadInput
from intaglio.models import testbed


@pytest.fixture
def bench(tmp_path, monkeypatch):
    def few_shot(name: str) -> testbed.FewShot:
        first = 10 * ("one", "two").index(name)
        return testbed.FewShot(*(tiny.some_pictures(first + part, 4) for part in range(5)))

    monkeypatch.setattr(testbed, "sets", lambda: ("one", "two"))
    monkeypatch.setattr(testbed, "few_shot", few_shot)
    brief = {"learning_rate": {"dreambooth": 1e-2, "lora": 1e-1}}
    monkeypatch.setattr(room, "PAPER", replace(suspects.PAPER, **brief))
    monkeypatch.setattr(room, "TUNING_STEPS", 1)
    monkeypatch.setattr(room, "EVALUATIONS", 4)
    return ProtectBench(
        model=tiny.sd_folder(tmp_path / "base"),
        sets=("one", "two"),
        quick=True,
        drawn=3,
        runs=tmp_path / "runs",
        workers=1,
    )


def test_it_gives_every_wanted_figure_and_goes_on_where_it_was(bench, monkeypatch):
    made, original = [], ProtectBench._done

    def counted(self, job):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(job.key)
        return original(self, job)

    with monkeypatch.context() as patch:
        patch.setattr(ProtectBench, "_done", counted)
        with pytest.raises(KeyboardInterrupt):
            bench(progress="none")
    again = []
    monkeypatch.setattr(ProtectBench, "_done", lambda self, job: again.append(job.key) or original(self, job))
    figures = bench(progress="none")
    methods = list(figures["by_method"])
    assert {"advdm", "mist", "photoguard", "sds"} <= set(methods)
    assert len(made) + len(again) == 2 * (1 + len(methods))
    for name, found in figures["by_method"].items():
        assert 0 < found["largest_difference"] <= 16
        assert found["net_protection_worst"] == min(found["net_by_purifier"].values())
        assert figures[f"net_protection_none_{name}"] == found["net_by_purifier"]["none"]
        assert found["seconds_per_image"] > 0
    assert figures["advdm_speedup_vs_reference"] > 0
    assert json.loads(json.dumps(figures, allow_nan=False))["seeds"] == 1
    assert "net_protection_worst" in bench.summary(figures)


def test_all_methods_take_as_many_gradients(bench):
    for method in bench._methods().values():
        assert method.steps * room._samples(method) == room.EVALUATIONS
        assert method.budget == 16.0


def test_net_protection_is_paired_by_set_purifier_and_seed():
    clean = {
        "a": {"none/0": 0.1, "none/1": 0.2, "blur/0": 0.5, "blur/1": 0.5},
        "b": dict.fromkeys(("none/0", "none/1", "blur/0", "blur/1"), 0.0),
    }
    more = {"psnr": 30.0, "ssim": 0.9, "seconds_per_image": 1.0, "gain": 0.2}
    arms = [
        {
            "set": "a",
            "unlikeness": {"none/0": 0.4, "none/1": 0.5, "blur/0": 0.5, "blur/1": 0.6},
            "largest_difference": 15,
            **more,
        },
        {
            "set": "b",
            "unlikeness": {"none/0": 0.1, "none/1": 0.1, "blur/0": 0.0, "blur/1": 0.1},
            "largest_difference": 16,
            **more,
        },
    ]
    found = _of_method(arms, clean, ("none", "blur"))
    assert found["net_by_purifier"] == pytest.approx(
        {"none": (0.3 + 0.3 + 0.1 + 0.1) / 4, "blur": (0 + 0.1 + 0 + 0.1) / 4}
    )
    assert (found["worst_purifier"], found["largest_difference"]) == ("blur", 16)
    # standard deviations over seeds: a/none 0.0707, the other three 0
    assert _noise(clean, 2) == pytest.approx(0.1 / 2**0.5 / 4)
    assert _noise(clean, 1) is None


def test_the_plain_loop_raises_the_loss_within_its_budget_and_leaves_the_weights():
    net, picture = model(), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    before = net.fingerprint
    changed = plain_advdm(net, picture, "cat", budget=8.0, step=1.0, steps=3)
    assert 0 < float((changed - picture).abs().max()) <= 8 / 255 + 1e-6
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    assert net.fingerprint == before


def test_bad_input_is_named(bench):
    with pytest.raises(BadInput, match="no few-shot set called 'three'"):
        replace(bench, sets=("three",))(progress="none")
    for name, value in {"seeds": 0, "drawn": 0, "purifiers": ("bleach",), "workers": 0}.items():
        with pytest.raises(ValueError, match=name):
            replace(bench, **{name: value})
