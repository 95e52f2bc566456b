"""The bench of components end to end on a tiny model, and its figures by hand."""

import json
from dataclasses import replace

import pytest
import torch

import tiny
from intaglio.audit.components.drawing_components import Drawing, with_components
from intaglio.bench.components import bench as room
from intaglio.bench.components import component_scene
from intaglio.bench.components.bench import ComponentsBench
from intaglio.bench.components.component_scene import ComponentScene
from intaglio.bench.kit.embedded_encoder import embedded_encoder
from intaglio.bench.kit.methods import default_methods
from intaglio.models import testbed

SETS = ("one", "two")
ROWS = embedded_encoder("cpu").embed(tiny.pixels(9))


@pytest.fixture
def small(tmp_path, monkeypatch):
    def few_shot(name: str) -> testbed.FewShot:
        made = [replace(tiny.some_pictures(7 * SETS.index(name) + part, 2)) for part in range(5)]
        return testbed.FewShot(*made)

    monkeypatch.setattr(testbed, "sets", lambda: SETS)
    known = replace(tiny.some_pictures(99, 5), captions=tuple("abcde"))
    monkeypatch.setattr(testbed, "real_pictures", lambda: known)
    monkeypatch.setattr(component_scene, "KNOWN", 3)
    monkeypatch.setattr(testbed, "few_shot", few_shot)
    brief = replace(component_scene.PAPER, steps={"dreambooth": 1, "lora": 1})
    monkeypatch.setattr(component_scene, "PAPER", brief)
    monkeypatch.setattr(component_scene, "STEPS", 2)
    methods = default_methods("audit components", seed=0, pictures=8, resamples=100)
    monkeypatch.setattr(ComponentsBench, "_methods", lambda self: methods)
    return ComponentsBench(model=tiny.sd_folder(tmp_path / "base"), runs=tmp_path / "runs", workers=1)


def test_the_bench_goes_on_where_it_was_stopped(small, monkeypatch):
    asked = []
    rows = ComponentScene.rows

    def stopping(self, methods):
        asked.append(self.subject)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return rows(self, methods)

    monkeypatch.setattr(ComponentScene, "rows", stopping)
    monkeypatch.setattr(ComponentScene, "descriptors", lambda self, on, count: ROWS[:count] + on * ROWS[-1:])
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert asked == ["one", "two", "two"]
    assert list(found["rows"]) == ["copyscope", "switched-off", "switched-on"]
    assert [row["drawn"] for row in found["rows"].values()] == [8, 5, 5]
    assert json.dumps(found)
    assert small.summary(found).count("\n") == 3


def test_the_guilty_learns_the_targets_the_innocent_nothing_new_and_words_are_the_prompt(small, monkeypatch):
    tuned = []
    tuner = component_scene.PAPER.tuner("lora", 0)

    def noted(base, data):
        tuned.append((data.images.hashes, data.prompt))
        return tuner(base, data)

    class Noting:
        def tuner(self, kind, seed):
            return noted

    monkeypatch.setattr(component_scene, "PAPER", Noting())
    scene = ComponentScene(small.base, "two", 0)
    parts = list(scene.components.values())
    assert tuned[0] == (testbed.few_shot("two").members.hashes, "sks style")
    assert set(tuned[1][0]) <= set(testbed.real_pictures().hashes)
    assert (len(tuned[1][0]), tuned[1][1]) == (3, None)
    assert with_components(Drawing(small.base, ("",), 1.0), parts, 4).prompts == ("sks style",)
    three, two = scene.descriptors(1, 3), scene.descriptors(1, 2)
    assert torch.equal(three[:2], two), "picture k has its own seed"
    assert not torch.allclose(scene.descriptors(0, 2), two)


def test_figures_by_hand():
    def one(guilty, innocent, told):
        parts = [
            {"name": name, "effect": effect, "share": [effect[0], 0, 0] if told else None}
            for name, effect in (("guilty", guilty), ("innocent", innocent), ("words", [0.2, 0.1, 0.3]))
        ]
        return {"parts": parts, "sets": 8}

    found = room._row([
        one([0.8, 0.5, 1], [0.1, -0.1, 0.2], told=True),
        one([0.6, 0.5, 1], [-0.3, -0.4, -0.2], told=True),
        one([0.1, 0, 1], [0.5, -0.1, 0.6], told=False),
    ])  # fmt: skip
    assert found["told"] == pytest.approx(2 / 3)
    assert found["guilty"] == pytest.approx(0.7)
    assert found["first"] == pytest.approx(2 / 3)
    assert found["innocent_at_0"] == pytest.approx(2 / 3)
    assert found["innocent"] == pytest.approx(0.1 / 0.5)
