"""The audit bench end to end on a tiny model: what it measures, and that a stopped one goes on."""

import json
from collections import Counter
from dataclasses import replace

import pytest

import tiny
from intaglio.bench.authenticate import bench as authenticate
from intaglio.bench.authenticate.bench import AuthenticateBench
from intaglio.bench.kit import methods, suspects
from intaglio.bench.kit.methods import default_method
from intaglio.errors import BadInput
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models import testbed
from rows import matrix

WANTED = {
    "auc",
    "auc_low",
    "auc_high",
    "tpr_at_1pct_fpr",
    "auc_reference",
    "speedup_vs_reference",
    "auc_hard",
    "auc_cgi_dm_hard",
    "auc_best_baseline_hard",
}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    def few_shot(name: str) -> testbed.FewShot:
        first = 10 * ("one", "two").index(name)
        return testbed.FewShot(*(tiny.some_pictures(first + part, 2 if part < 3 else 3) for part in range(5)))

    monkeypatch.setattr(testbed, "sets", lambda: ("one", "two"))
    monkeypatch.setattr(testbed, "few_shot", few_shot)
    brief = {"steps": {"dreambooth": 2, "lora": 2}, "learning_rate": {"dreambooth": 1e-2, "lora": 1e-1}}
    monkeypatch.setattr(authenticate, "PAPER", replace(suspects.PAPER, **brief))
    monkeypatch.setattr(authenticate, "HARD", replace(suspects.HARD, fillers=2, **brief))
    short = authenticate.CGIDM(steps=2, gap_samples=2)
    monkeypatch.setattr(authenticate.CGIDM, "reference", classmethod(lambda cls, **changes: replace(short, **changes)))
    small = {row.method: row.small for row in matrix().values() if row.verb == "authenticate"}
    few = {name: default_method("authenticate", name, **small[name]) for name in small}
    monkeypatch.setattr(methods, "default_methods", lambda verb, seed: few)
    encoder = load_similarity("ssim")
    monkeypatch.setattr(authenticate, "load_similarity", lambda *_: encoder)
    return AuthenticateBench(model=tiny.sd_folder(tmp_path / "base"), runs=tmp_path / "runs", workers=1)


def test_it_gives_every_wanted_figure_and_goes_on_where_it_was(bench, monkeypatch):
    made = []
    original = authenticate.fine_tuned

    def stopped(*args):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append((args[1].name, *args[2:4]))
        return original(*args)

    monkeypatch.setattr(authenticate, "fine_tuned", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench(progress="none")
    monkeypatch.setattr(
        authenticate, "fine_tuned", lambda *args: made.append((args[1].name, *args[2:4])) or original(*args)
    )
    figures = bench(progress="none")
    assert sorted(Counter(made).values()) == [1] * 7 + [2], "no audit is done twice, beside the one with a reference"
    assert figures.keys() >= WANTED
    assert 0 <= figures["auc_low"] <= figures["auc"] <= figures["auc_high"] <= 1
    baselines = {"loss-gap", "loss-gap suspect", "loss-gap base", "loss-gap relative", "pia", "pia suspect", "pia base"}
    hard = {name: area["value"] for name, area in figures["areas"]["hard"].items()}
    assert {"cgi-dm", "cgi-dm gain", "cgi-dm encoder gain", "update-alignment coefficient", *baselines} <= set(hard)
    assert figures["auc_best_baseline_hard"] == hard[figures["best_baseline_hard"]]
    assert figures["auc_best_baseline_hard"] >= max(hard[name] for name in baselines)
    json.dumps(figures, allow_nan=False)
    assert "auc_hard" in bench.summary(figures)


def test_the_hard_regime_trains_on_members_and_other_sets_and_asks_about_near_relatives(bench):
    regime = replace(suspects.HARD, fillers=2)
    learned = regime.training_set("one")
    few, other = testbed.few_shot("one"), testbed.few_shot("two")
    assert learned.images.hashes == (*few.members.hashes, *other.members.hashes[:2])
    assert set(learned.prompts) == {suspects.PROMPT}
    assert regime.questioned("one")[1].hashes == few.near.hashes
    assert suspects.PAPER.questioned("one")[1].hashes == few.holdouts.hashes
    assert len(suspects.PAPER.training_set("one").images) == 2


def test_by_turns_every_set_gets_one_tuner_in_one_regime_and_the_other_in_the_other(bench):
    keys = [job.key for job in replace(bench, by_turns=True)._jobs()]
    assert keys == [
        "paper/dreambooth/one",
        "paper/dreambooth/one",
        "hard/lora/one",
        "paper/lora/two",
        "hard/dreambooth/two",
    ]
    assert len(bench._jobs()) == 9


def test_an_unknown_set_is_named(bench):
    with pytest.raises(BadInput, match="no few-shot set called 'three'; choose from: one, two"):
        replace(bench, sets=("three",))(progress="none")
