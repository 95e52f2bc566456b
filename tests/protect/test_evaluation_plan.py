"""The time of measuring what is left of a protection: every fine-tune, picture and cleaning is counted."""

from types import SimpleNamespace

import pytest
import torch

from intaglio.images.image_set import ImageSet
from intaglio.protect import evaluation_plan as planning
from intaglio.protect.evaluation_plan import evaluation_plan
from intaglio.sampling.calls import Calls
from protect_scenes import PlantedPurifier
from protect_scenes import model as tiny_model

ORIGINALS = ImageSet.from_pixels(torch.full((3, 3, 8, 8), 0.5))
TUNE_S, DRAWN_S, CLEANING_S, DRAWN = 10.0, 2.0, 0.5, 4


@pytest.fixture(autouse=True)
def planted_times(monkeypatch):
    monkeypatch.setattr(planning, "seconds_of", lambda call, device: (call(), CLEANING_S)[1])
    monkeypatch.setattr(planning, "picture_calls", lambda model, steps, scale: Calls(forward=7, decodes=1))
    monkeypatch.setattr(planning, "planned_seconds", lambda calls, model, rows: DRAWN_S * calls.decodes)


def imitator():
    tuner = SimpleNamespace(plan=lambda model, data: SimpleNamespace(seconds=TUNE_S, steps=len(data.images)))
    model = SimpleNamespace(device="cpu")
    return SimpleNamespace(model=model, tuner=tuner, prompt="x", steps=None, guidance=None, drawn=DRAWN)


def cleaner(cleaned):
    def clean(pixels, model, seed):
        cleaned.append((len(pixels), model))
        return pixels

    return PlantedPurifier(does=clean)


def parts(*, purifiers=1, purifying_model=None, **counts):
    cleaned = []
    ways = [cleaner(cleaned) for _ in range(purifiers)]
    plan = evaluation_plan(imitator(), ORIGINALS, ways, purifying_model=purifying_model, **counts)
    assert [rows for rows, _ in cleaned] == [1] * purifiers
    return dict(plan.parts), str(plan), [model for _, model in cleaned]


@pytest.mark.parametrize(("seeds", "shares", "purifiers"), [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (3, 2, 2)])
def test_seeds_shares_and_purifiers_multiply_the_work(seeds, shares, purifiers):
    # of each seed and purifier one fine-tune on clean pictures, and one for each share of protected ones
    tunes = seeds * (1 + shares) * purifiers
    found, said, _ = parts(seeds=seeds, shares=shares, purifiers=purifiers)
    assert found == {
        "fine-tunes": tunes * TUNE_S,
        "pictures": tunes * DRAWN * DRAWN_S,
        "cleaning": tunes * len(ORIGINALS) * CLEANING_S,
    }
    assert said.startswith(f"work       {tunes} fine-tunes of 3 steps, {DRAWN} pictures of each\n")


def test_two_seeds_are_twice_the_fine_tunes():
    (one, _, _), (two, _, _) = parts(), parts(seeds=2)
    assert two["fine-tunes"] == 2 * one["fine-tunes"]


def test_a_model_of_its_own_cleans_where_there_is_one():
    other = tiny_model()
    assert parts(purifying_model=other)[2] == [other]
    assert parts()[2] != [other]
