"""What holds of every extraction method; a method joins by its file and its own test."""

import pytest
import torch

import tiny
from extract_scenes import encoder, pair
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput
from intaglio.models.capabilities import check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.guide import Guide
from rows import matrix

ROWS = [pytest.param(row, id=key) for key, row in matrix().items() if row.verb == "extract"]
every_extractor = pytest.mark.parametrize("row", ROWS)


def made(row, **changes):
    return load(row.target)(**{**row.small, **changes})


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return pair(tmp_path_factory.mktemp("pair"))


@every_extractor
def test_it_says_of_itself_what_reports_and_benches_need(row, models):
    kind = load(row.target)
    assert kind.name == row.method
    assert kind.role in ("method", "baseline")
    assert len(kind.reading) > 10
    assert not kind.reading.endswith(".")
    assert isinstance(made(row).guide(models[1], prompted=True), Guide)


@every_extractor
def test_a_model_without_what_it_needs_is_refused_before_any_work(row, models, monkeypatch):
    with pytest.raises(BadInput, match=f"{row.method} needs a model that .*; TarFlow does not"):
        check_needs(made(row), tiny.flow(double=False))
    monkeypatch.delattr(LatentDiffusion, "predict")
    monkeypatch.setattr(LatentDiffusion, "embed", lambda *_: pytest.fail("worked"))
    with pytest.raises(BadInput, match=f"{row.method} needs a model that"):
        made(row)(*models, prompts=("red cat",), similarity=encoder())


@every_extractor
def test_equal_models_are_refused_before_any_work(row, models, monkeypatch):
    suspect, _ = models
    monkeypatch.setattr(LatentDiffusion, "embed", lambda *_: pytest.fail("worked"))
    with pytest.raises(BadInput, match="identical"):
        made(row)(suspect, suspect.copy(), prompts=("red cat",), similarity=encoder())


@every_extractor
def test_without_a_prompt_it_works_or_says_that_it_needs_one(row, models):
    method = made(row)
    if method.needs_prompt:
        with pytest.raises(BadInput, match=f"{row.method} leads towards a prompt and there is none; give --prompt"):
            method(*models, similarity=encoder())
    else:
        assert len(method(*models, similarity=encoder()).pictures) == row.small["pictures"]


@every_extractor
def test_a_find_is_one_of_the_drawings_and_the_best_come_first(row, models):
    found = made(row)(*models, prompts=("red cat", "dog"), similarity=encoder())
    assert found.drawn == row.small["generations"]
    assert len(found.pictures) == len(found.finds) == row.small["pictures"]
    scores = [find.score for find in found.finds]
    assert scores == sorted(scores, reverse=True)
    seeds = [find.seed for find in found.finds]
    assert len(set(seeds)) == len(seeds)
    assert set(seeds) <= set(range(row.small["generations"]))
    assert {find.prompt for find in found.finds} <= {"red cat", "dog"}
    assert 0 <= float(found.pictures.pixels.min()) <= float(found.pictures.pixels.max()) <= 1


@every_extractor
def test_another_seed_draws_other_pictures(row, models):
    one, two = (made(row, seed=seed)(*models, prompts=("cat",), similarity=encoder()) for seed in (0, 1_000))
    assert not torch.equal(one.pictures.pixels, two.pictures.pixels)
