"""The bench of selections end to end on a tiny model, and what its pools hold."""

import json
from dataclasses import replace

import numpy as np
import pytest

import tiny
from intaglio.bench.kit.methods import default_methods
from intaglio.bench.selection import bench as room
from intaglio.bench.selection import selection_scene
from intaglio.bench.selection.bench import SelectionBench
from intaglio.bench.selection.selection_scene import SelectionScene
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.runs.run import Run

SETS = ("one", "two", "three")


def _pictures(seed: int, count: int) -> ImageSet:
    made = tiny.some_pictures(seed, count)
    names = tuple(f"{seed}-{k}.png" for k in range(count))
    return replace(made, names=names, captions=tuple(f"cat {k}" for k in range(count)))


@pytest.fixture
def small(tmp_path, monkeypatch):
    def few_shot(name: str) -> testbed.FewShot:
        first = 10 * SETS.index(name)
        return testbed.FewShot(*(_pictures(first + part, 2) for part in range(5)))

    monkeypatch.setattr(testbed, "sets", lambda: SETS)
    monkeypatch.setattr(testbed, "few_shot", few_shot)
    monkeypatch.setattr(selection_scene, "TARGETS", 1)
    monkeypatch.setattr(room, "SIZE", 2)
    brief = default_methods("audit selection", seed=0, size=2, timesteps=1, width=32)
    monkeypatch.setattr(SelectionBench, "_methods", lambda self: brief)
    monkeypatch.setattr(room, "QUICK_SETS", 1)
    return SelectionBench(model=tiny.sd_folder(tmp_path / "base"), runs=tmp_path / "runs", workers=1, quick=True)


def test_a_pool_holds_the_own_pictures_first_and_none_that_the_choice_is_judged_by(small):
    scene = SelectionScene(small.base, "two", 0)
    own, others = testbed.few_shot("two"), (testbed.few_shot("three"), testbed.few_shot("one"))
    wanted = [*own.members.hashes, *(one for few in others for one in (*few.members.hashes, *few.holdouts.hashes))]
    assert list(scene.pool.hashes) == wanted
    assert [scene.pool.hashes[place] for place in scene.own] == list(own.members.hashes)
    assert (*scene.targets.hashes, *scene.judged.hashes) == tuple(own.holdouts.hashes)
    drawn = [scene.at_random(number) for number in range(4)]
    assert all(len(set(one)) == 2 and max(one) < 10 for one in drawn)
    assert len({tuple(one) for one in drawn}) > 1
    assert drawn == [SelectionScene(small.base, "two", 0).at_random(number) for number in range(4)]


def test_the_bench_goes_on_where_it_was_stopped_and_gains_are_against_chance(small, monkeypatch):
    made = []

    def figures(self, places):
        if len(made) == 3:
            made.append("stopped")
            raise KeyboardInterrupt
        made.append(tuple(places))
        return {"loss": 0.5 if set(places) == {0, 1} else 0.9, "own": 0.0, "count": len(places)}

    monkeypatch.setattr(SelectionScene, "figures", figures)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert made[0] == (0, 1)
    assert made[1] == tuple(range(10))
    assert len(made) == 2 + 2 + 3 + 1, "own, all, two by chance, three methods, and the one that was stopped"
    rows = found["rows"]
    assert list(rows) == ["own", "all", "random", "look-alikes", "mean-gradient", "tarot"]
    chance = np.mean([0.5 if set(one) == {0, 1} else 0.9 for one in (made[2], made[4])])
    assert rows["own"]["gain"] == pytest.approx(chance - 0.5)
    assert rows["random"]["gain"] == pytest.approx(0)
    assert json.dumps(found)
    assert small(progress="none") == found
    assert small.summary(found).count("\n") == 6


def test_figures_are_of_a_tune_on_the_choice_over_the_base(small, monkeypatch):
    scene, tuned = SelectionScene(small.base, "one", 0), []

    class Tuner:
        def __init__(self, **settings):
            self.settings = settings

        def __call__(self, base, data):
            tuned.append(data.images.hashes)
            return type("Tuned", (), {"model": base})()

    monkeypatch.setattr(selection_scene, "LoRATuning", Tuner)
    found = scene.figures([0, 5])
    assert tuned == [(scene.pool.hashes[0], scene.pool.hashes[5])]
    assert found["loss"] == pytest.approx(1, rel=1e-6), "a tune that changes nothing"
    assert found["own"] == 0.5
    assert found["count"] == 2
    chosen = scene.chosen(small._methods()["mean-gradient"], Run.none())
    assert len(chosen["places"]) == 2


def test_an_unknown_set_is_told(small):
    with pytest.raises(BadInput, match="no few-shot set called 'x'; choose from: one, two, three"):
        replace(small, sets=("x",))(progress="none")
