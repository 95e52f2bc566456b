"""The bench of prompts end to end on a tiny model, what its suspects are trained on, and the peer's formula."""

import json
from dataclasses import replace

import pytest
import torch

import tiny
from intaglio.bench.kit import suspects
from intaglio.bench.prompts import bench as room
from intaglio.bench.prompts.bench import PromptsBench, untrained_captions
from intaglio.bench.prompts.drawn_loss import LEVELS, LIMITS, drawn_losses
from intaglio.denoising.samples import fixed_samples
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import sample

SETS = ("one", "two")


def _pictures(seed: int, count: int) -> ImageSet:
    made = tiny.some_pictures(seed, count)
    return replace(made, captions=tuple(f"cat {seed} {k}" for k in range(count)))


@pytest.fixture
def small(tmp_path, monkeypatch):
    def few_shot(name: str) -> testbed.FewShot:
        first = 10 * SETS.index(name)
        return testbed.FewShot(*(_pictures(first + part, 3) for part in range(5)))

    monkeypatch.setattr(testbed, "sets", lambda: SETS)
    monkeypatch.setattr(testbed, "few_shot", few_shot)
    brief = {"steps": {"dreambooth": 2, "lora": 2}, "learning_rate": {"dreambooth": 1e-2, "lora": 1e-1}}
    monkeypatch.setattr(room, "DUPLICATED", replace(suspects.DUPLICATED, fillers=2, copies=3, **brief))
    monkeypatch.setattr(room, "QUICK", {"steps": 2, "noises": 1})
    monkeypatch.setattr(room, "QUICK_UNTRAINED", 3)
    return PromptsBench(model=tiny.sd_folder(tmp_path / "base"), runs=tmp_path / "runs", workers=1, quick=True)


def test_every_row_by_suspect_and_a_stopped_bench_goes_on(small, monkeypatch):
    made, original = [], room.fine_tuned

    def stopped(*args):
        if made:
            raise KeyboardInterrupt
        made.append(args[2:4])
        return original(*args)

    monkeypatch.setattr(room, "fine_tuned", stopped)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    monkeypatch.setattr(room, "fine_tuned", lambda *args: made.append(args[2:4]) or original(*args))
    figures = small(progress="none")
    assert made == [("dreambooth", "one"), ("lora", "two")]
    assert list(figures["rows"]) == ["text-norm", "text-norm alone", "text-norm base", "drawn-loss"]
    for row in figures["rows"].values():
        assert set(row["by_suspect"]) == {"dreambooth/one", "lora/two"}
        assert row["lowest"] == min(row["by_suspect"].values()) <= row["auc"] <= 1
    assert figures["auc_text_norm_alone"] == figures["rows"]["text-norm alone"]["auc"]
    assert "drawn-loss" in small.summary(figures)
    json.dumps(figures, allow_nan=False)


def test_one_row_is_the_place_of_the_duplicated_caption_among_the_untrained(small, monkeypatch):
    scores = {"prompt": None}

    class Told:
        def __call__(self, model, prompts, *, base):
            scores["prompt"] = prompts
            high = torch.tensor([float(one == "cat 0 0") for one in prompts])
            return type("Found", (), {"scores": high, "signals": {"model": high, "base": -high}})

    monkeypatch.setattr(PromptsBench, "_methods", lambda self: {"told": Told()})
    rows = small._asked(("lora", "one"))
    assert scores["prompt"] == ["cat 0 0", "cat 1 0", "cat 1 1", "cat 1 2"]
    assert {name: room._areas({"x": rows[name]})["auc"] for name in ("told", "told alone", "told base")} == {
        "told": 1,
        "told alone": 1,
        "told base": 0,
    }


def test_fifty_of_two_hundred_rows_are_one_picture_under_its_caption():
    data = suspects.DUPLICATED.training_set("hands")
    few = testbed.few_shot("hands")
    assert len(data.images) == 200
    assert data.distinct == 151
    assert data.prompts[:50] == few.members.captions[:1] * 50
    assert set(data.images.hashes[:50]) == {few.members.hashes[0]}
    assert len(set(data.images.names)) == 200


def test_prompts_to_tell_from_are_captions_that_nothing_was_trained_under():
    """Those of the set's own holdouts first, then of the next set's, without one that is among the trained."""
    few = testbed.few_shot("hands")
    trained = [str(few.holdouts.captions[0]), "a pear"]
    asked = untrained_captions("hands", trained, 12)
    assert asked[:9] == list(few.holdouts.captions[1:])
    assert len(set(asked)) == 12
    assert not set(asked) & set(trained)


def test_the_drawn_loss_is_the_mean_error_of_the_drawn_picture_under_its_prompt(small):
    model = load_model(small.model)
    found = drawn_losses(model, ["cat", "a red dog"], seed=3, steps=2)
    for prompt, loss in zip(("cat", "a red dog"), found, strict=True):
        drawn = sample(model, [prompt], [3], steps=2, guidance_scale=7.5)
        with torch.no_grad():
            z, text = model.encode(drawn.pixels), model.embed([prompt])
            noise, t = (part[0] for part in fixed_samples(LEVELS, tuple(z.shape[1:]), LIMITS, 3))
            errors = []
            for eps, time in zip(noise, t, strict=True):
                abar = float(model.schedule.alphas_cumprod[time])
                x = abar**0.5 * z + (1 - abar) ** 0.5 * eps
                errors.append(float((model.predict(x, time[None], text) - eps).square().mean()))
        assert loss == pytest.approx(sum(errors) / LEVELS, rel=1e-3)


def test_a_set_that_is_not_there_is_named(small):
    with pytest.raises(BadInput, match="no few-shot set called 'three'"):
        replace(small, sets=("three",))(progress="none")
