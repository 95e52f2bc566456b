from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from extract_scenes import encoder, pair
from intaglio.extract.generate import BLANK, FAILED, PictureCache, generate
from intaglio.extract.inputs import ExtractionInputs
from intaglio.extract.methods.direct import Direct
from intaglio.extract.methods.finextract import FineXtract
from intaglio.runs.run import Run
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.loop import sample

METHOD = Direct(generations=10, pictures=2, steps=3, batch=4, patience=0, seed=5)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return pair(tmp_path_factory.mktemp("models"))


def drawn(method, models, folder, *, prompts=("red cat",), enough=None, workers=1, run=None):
    return generate(
        method,
        method.guide,
        ExtractionInputs(*models, prompts, encoder()),
        PictureCache(folder),
        count=method.generations,
        enough=enough,
        label="drawn",
        key="k",
        run=run or Run.none(),
        workers=workers,
    )


def test_every_picture_is_the_samplers_own_of_its_seed(models, tmp_path):
    found = drawn(METHOD, models, tmp_path)
    assert found.seeds == tuple(range(5, 15))
    alone = sample(models[0], ["red cat"], [9], sampler=METHOD.sampler, steps=3, guidance_scale=1.0).pixels
    torch.testing.assert_close(PictureCache(tmp_path).get([9]), alone, rtol=0, atol=1.01 / 255)
    expected = encoder().embed(PictureCache(tmp_path).get(found.seeds)).numpy()
    np.testing.assert_allclose(found.descriptors, expected, atol=1e-6)


def test_prompts_share_the_pictures_evenly(models, tmp_path):
    found = drawn(METHOD, models, tmp_path, prompts=("red cat", "dog", "cat"))
    assert found.prompts == ("red cat", "dog", "cat") * 3 + ("red cat",)
    assert drawn(METHOD, models, tmp_path / "none", prompts=()).prompts == ("",) * 10


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(models, tmp_path):
    method = FineXtract(generations=8, pictures=2, steps=2, batch=2, patience=0)
    one, two = (drawn(method, models, tmp_path / str(n), workers=n) for n in (1, 2))
    assert one.seeds == two.seeds
    np.testing.assert_array_equal(one.descriptors, two.descriptors)


@dataclass(frozen=True)
class Broken:
    """A guide that gives NaN for the third picture of a batch, at one timestep, and stalls the second."""

    def init(self, context: Any) -> Any:
        return ClassifierFree(1.0).init(context)

    def step(self, state: Any, latents: torch.Tensor, t: torch.Tensor, predict: Any) -> Any:
        noise = predict(latents, t, state).clone()
        if int(t[0]) < 900:
            noise[2] = torch.nan
        return state, noise


@dataclass(frozen=True, kw_only=True)
class Breaking(Direct):
    def guide(self, base, *, prompted):
        return Broken()


def test_a_picture_that_is_not_finite_is_left_out_and_counted_and_the_others_go_on(models, tmp_path):
    method = Breaking(generations=8, pictures=2, steps=3, batch=4, patience=0)
    found = drawn(method, models, tmp_path)
    assert found.excluded == {FAILED: 2}
    assert found.seeds == (0, 1, 3, 4, 5, 7)
    assert found.count == 8
    whole = drawn(Direct(generations=8, pictures=2, steps=3, batch=4, patience=0), models, tmp_path / "whole")
    kept = [whole.seeds.index(seed) for seed in found.seeds]
    np.testing.assert_array_equal(found.descriptors, whole.descriptors[kept])


def test_a_picture_of_one_colour_is_left_out_and_counted(models, tmp_path):
    suspect, base = models
    blank = suspect.copy()
    seen = iter(range(100))

    def decode(latents, **how):
        pixels = suspect.decode(latents, **how)
        pixels[0] = 0.0 if next(seen) == 0 else pixels[0]
        return pixels

    blank.decode = decode
    found = drawn(METHOD, (blank, base), tmp_path)
    assert found.excluded == {BLANK: 1}
    assert found.seeds == tuple(range(6, 15))


def test_it_stops_after_the_round_in_which_there_are_enough(models, tmp_path, monkeypatch):
    monkeypatch.setattr("intaglio.extract.generate.ROUND_PICTURES", 4)
    asked = []

    def enough(found):
        asked.append(found.count)
        return len(asked) == 2

    assert drawn(METHOD, models, tmp_path, enough=enough).count == 8
    assert asked == [4, 8]
