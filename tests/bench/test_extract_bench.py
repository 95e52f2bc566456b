"""The extraction bench end to end on a tiny model: what it measures, and that a stopped one goes on."""

import json
from dataclasses import replace

import pytest

import tiny
from intaglio.bench.extract import bench as extract
from intaglio.bench.extract import extraction_measures, figures
from intaglio.bench.extract.bench import ExtractBench, _Job
from intaglio.bench.kit import suspects
from intaglio.bench.kit.methods import default_methods
from intaglio.errors import BadInput
from intaglio.models import testbed
from intaglio.runs.run import Run

WANTED = {
    "aesr_finextract",
    "aesr_cfg",
    "aesr_direct",
    "ratio_vs_best_baseline",
    "as_finextract",
    "as_best_baseline",
    "seconds_per_image_ratio",
}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    def few_shot(name: str) -> testbed.FewShot:
        first = 10 * ("one", "two").index(name)
        return testbed.FewShot(*(tiny.some_pictures(first + part, 10 if part < 3 else 100) for part in range(5)))

    monkeypatch.setattr(testbed, "sets", lambda: ("one", "two"))
    monkeypatch.setattr(testbed, "few_shot", few_shot)
    brief = {"learning_rate": {"dreambooth": 1e-2, "lora": 1e-1}}
    monkeypatch.setattr(extract, "PAPER", replace(suspects.PAPER, **brief))
    monkeypatch.setattr(extract, "STRENGTHS", {"middle": {"dreambooth": 2, "lora": 2}})
    monkeypatch.setattr(extract, "PUBLISHED_STEPS", 3)
    monkeypatch.setattr("intaglio.denoising.loss_difference.TIMESTEPS", 2)
    own = ExtractBench._methods

    def short(self, kind):
        return {name: replace(method, steps=2) for name, method in own(self, kind).items()}

    monkeypatch.setattr(ExtractBench, "_methods", short)
    extraction_measures.thresholds.cache_clear()
    yield ExtractBench(
        model=tiny.sd_folder(tmp_path / "base"),
        sets=("one", "two"),
        quick=True,
        generations=20,
        runs=tmp_path / "runs",
        workers=1,
    )
    extraction_measures.thresholds.cache_clear()


def test_it_gives_every_wanted_figure_and_goes_on_where_it_was(bench, monkeypatch):
    made = []
    original = extract.fine_tuned

    def stopped(*args):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(args[3])
        return original(*args)

    monkeypatch.setattr(extract, "fine_tuned", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench(progress="none")
    made.clear()
    monkeypatch.setattr(extract, "fine_tuned", lambda *args: (made.append(args[3]), original(*args))[1])
    measured = bench(progress="none")
    assert made == ["two", "one"], "the first suspect is measured once, and made again for the timing alone"
    assert measured.keys() >= WANTED
    json.dumps(measured, allow_nan=False)
    assert measured["suspects"] == 2
    one = measured["by_suspect"]["middle/dreambooth/one"]
    assert set(one) == {"finextract", "cfg", "direct", "finextract, published sampler"}
    assert all(method["drawn"] == 20 and method["extracted"] == 10 for method in one.values())
    assert all(method["oracle_average"] >= method["average"] - 1e-6 for method in one.values())
    rates = [measured["by_suspect"][key]["finextract"]["strict"] for key in measured["by_suspect"]]
    assert measured["aesr_finextract"] == pytest.approx(sum(rates) / 2)
    assert bench.summary(measured).count("\n") > 10
    assert bench(progress="none") == measured


def suspect(strength: str, kind: str, direct: float, finextract: float) -> dict:
    numbers = dict.fromkeys(figures.FIGURES, 0.5)
    return {
        "set": "one",
        "tuner": kind,
        "strength": strength,
        "methods": {
            "finextract": {**numbers, "strict": finextract},
            "cfg": {**numbers, "strict": 0.0},
            "direct": {**numbers, "strict": direct},
        },
    }


METHODS = default_methods("extract", seed=0)


class Recorded(Run):
    """A run that knows these suspects."""

    def __init__(self, suspects):
        self.suspects = suspects

    seconds = 1.0

    def recorded(self, kind):
        if kind == "speed":
            return {"speed": {"plain": 3.0, "ours": [1.0, 1.0], "equal_steps": 1.5, "pictures": 5}}
        return {str(place): one for place, one in enumerate(self.suspects)}


def test_the_headline_is_where_direct_sampling_extracts_some_but_not_most(monkeypatch):
    monkeypatch.setattr(figures, "thresholds", lambda device: {"loose": 0.5, "strict": 0.7})
    found = [
        suspect("weak", "lora", 0.0, 0.1),
        suspect("middle", "lora", 0.1, 0.4),
        suspect("middle", "lora", 0.3, 0.5),
        suspect("middle", "dreambooth", 0.04, 0.9),
        suspect("strong", "lora", 0.9, 0.9),
    ]
    found = figures.figures_of(Recorded(found), METHODS)
    assert found["headline_cells"] == ["middle, lora"]
    assert found["aesr_direct"] == pytest.approx(0.2)
    assert found["ratio_vs_best_baseline"] == pytest.approx(0.45 / 0.2)
    assert found["ratio_low"] == pytest.approx(0.5 / 0.3)
    assert found["ratio_high"] == pytest.approx(0.4 / 0.1)
    assert found["seconds_per_image_ratio"] == pytest.approx(1 / 3)
    assert found["speedup_at_equal_steps"] == pytest.approx(2)


def test_a_baseline_that_found_nothing_gives_a_ratio_that_can_still_be_written(monkeypatch):
    monkeypatch.setattr(figures, "thresholds", lambda device: {"loose": 0.5, "strict": 0.7})
    found = figures.figures_of(Recorded([suspect("weak", "lora", 0.0, 0.1)]), METHODS)
    assert found["headline_cells"] == []
    assert found["ratio_vs_best_baseline"] == pytest.approx(0.1 / figures.FLOOR)


def test_suspects_of_the_bench_learn_the_members_alone_in_batches_of_four():
    job = _Job("one", "lora", "weak")
    assert job.key == "weak/lora/one"
    assert job.regime.fillers == 0
    assert job.regime.tuner("lora", 0).batch == 4
    assert job.regime.tuner("lora", 0).steps == 150


def test_an_unknown_set_and_bad_numbers_are_refused():
    with pytest.raises(BadInput, match="there is no few-shot set called 'nowhere'"):
        ExtractBench(sets=("nowhere",))(progress="none")
    with pytest.raises(ValueError, match="generations must be at least 20"):
        ExtractBench(generations=10)
    with pytest.raises(ValueError, match="workers must be at least 1"):
        ExtractBench(workers=0)


def test_sets_that_settings_were_tried_on_are_left_out_unless_named():
    sets = ExtractBench()._sets()
    assert len(sets) == extract.COUNT == len(set(sets))
    assert not set(sets) & set(extract.LEFT_OUT)
    assert ExtractBench(sets=("hands",))._sets() == ("hands",)
