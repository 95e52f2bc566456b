"""The membership bench end to end on a tiny model, and its figures against planted scores."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

import tiny
from intaglio.audit.membership.methods.pia import PIA
from intaglio.bench.kit import suspects
from intaglio.bench.kit.methods import default_method
from intaglio.bench.membership import bench as membership
from intaglio.bench.membership.bench import MembershipBench
from intaglio.bench.membership.figures import _by_condition, _parts
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from rows import matrix

FEW = ("loss-gap", "pia", "clid", "update-alignment")


def _pictures(seed: int, count: int) -> ImageSet:
    made = tiny.some_pictures(seed, count)
    return replace(made, captions=tuple(f"cat {seed} {k}" for k in range(count)))


@pytest.fixture
def bench(tmp_path, monkeypatch):
    def few_shot(name: str) -> testbed.FewShot:
        first = 10 * ("one", "two").index(name)
        return testbed.FewShot(*(_pictures(first + part, 2 if part < 3 else 4) for part in range(5)))

    monkeypatch.setattr(testbed, "sets", lambda: ("one", "two"))
    monkeypatch.setattr(testbed, "few_shot", few_shot)
    brief = {"steps": {"dreambooth": 2, "lora": 2}, "learning_rate": {"dreambooth": 1e-2, "lora": 1e-1}}
    kinds = (suspects.PAPER, replace(suspects.HARD, fillers=2), suspects.CAPTIONED)
    paper, hard, captioned = (replace(one, **brief) for one in kinds)
    monkeypatch.setattr(membership, "REGIMES", (paper, hard, captioned))
    monkeypatch.setattr(membership, "PAPER", paper)
    small = {row.method: row.small for row in matrix().values() if row.verb == "authenticate"}
    few = {name: default_method("authenticate", name, **small[name]) for name in FEW}
    monkeypatch.setattr(membership, "default_methods", lambda verb, seed: few)
    return MembershipBench(model=tiny.sd_folder(tmp_path / "base"), runs=tmp_path / "runs", workers=1)


def test_every_row_in_every_regime_it_can_be_asked_in_and_goes_on_where_it_was(bench, monkeypatch):
    made, original = [], membership.fine_tuned

    def stopped(*args):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(args[1:4])
        return original(*args)

    monkeypatch.setattr(membership, "fine_tuned", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench(progress="none")
    monkeypatch.setattr(membership, "fine_tuned", lambda *args: made.append(args[1:4]) or original(*args))
    figures = bench(progress="none")
    assert len(made) == len(set(map(str, made))) == 6
    shared = {"hard", "null", "paper"}
    asked = {name: set(by) for name, by in figures["rows"].items()}
    assert asked == {
        "clid": {"captioned"},
        "clid alone": {"captioned"},
        "loss-gap": shared | {"captioned"},
        "loss-gap alone": shared | {"captioned"},
        "pia": shared | {"captioned"},
        "pia alone": shared | {"captioned"},
        "pian": shared | {"captioned"},
        "pian alone": shared | {"captioned"},
        "update-alignment": shared,
    }
    row = figures["rows"]["pia"]["null"]
    assert (row["suspects"], row["outside"]) == (2, 8), "members of another set were not trained on either"
    assert figures["rows"]["pia"]["paper"]["outside"] == 4
    assert figures["rows"]["pia"]["hard"]["realised_rate"] is None
    assert figures["rows"]["pia alone"]["paper"]["calls"] == figures["rows"]["pia"]["paper"]["calls"] / 2
    assert figures["auc_captioned_clid_alone"] == figures["rows"]["clid alone"]["captioned"]["auc"]
    json.dumps(figures, allow_nan=False)
    assert "update-alignment" in bench.summary(figures)


def test_captions_are_trained_on_and_asked_under_and_alone_is_the_suspect_by_itself(bench):
    few = testbed.few_shot("one")
    learned = membership.REGIMES[2].training_set("one")
    assert learned.prompts == few.members.captions
    job, base = bench._jobs()[2], bench.base
    suspect = membership.fine_tuned(base, job.regime, job.kind, "one", 0)
    method = bench._methods()["pia"]
    everyone, counts = bench._pictures(job.regime, "one")
    expected = method(suspect, base, everyone, own_captions=True)
    found = bench._scored("pia", method, suspect, base, job, "captioned", "one")["scores"]
    assert found == {
        "": [part.tolist() for part in expected.scores.split(counts)],
        "alone": [part.tolist() for part in expected.signals["suspect"].split(counts)],
    }


def test_figures_are_those_of_planted_scores():
    """Two suspects: all members above all others in one, all below in the other; one other of six is called."""
    controls = list(np.linspace(0, 1, 19))
    about = {"method": "toy", "condition": "paper", "seconds": 2.0, "calls": 10.0}
    found = [
        {**about, "scores": {"": [[3.0, 4.0], [0.1, 0.2, 2.0], controls]}},
        {**about, "scores": {"": [[-3.0, -4.0], [0.1, 0.2, 0.3], controls]}},
    ]
    row = _by_condition([part for one in found for part in _parts(one, "toy")])["paper"]
    assert row["auc"] == 0.5
    assert row["above_half"] == 0.5
    assert row["realised_rate"] == pytest.approx(1 / 6)
    assert row["realised_rate_interval"][0] < 0.05 < row["realised_rate_interval"][1]
    assert (row["seconds"], row["calls"]) == (2.0, 10.0)
    assert row["members_called"] == 0.5
    null = [{**found[0], "condition": "null"}]
    assert _by_condition(_parts(null[0], "toy"))["null"]["members_called"] is None
    assert _by_condition(_parts(null[0], "toy"))["null"]["realised_rate"] == pytest.approx(3 / 5)


def test_a_row_whose_both_sides_count_is_calibrated_on_both():
    """39 controls: members of both suspects lie beyond them, above in one and below in the other; two others of six."""
    controls = list(np.linspace(0, 1, 39))
    about = {"method": "toy", "sides": "both", "condition": "paper", "seconds": 2.0, "calls": 10.0}
    found = [
        {**about, "scores": {"": [[3.0, 4.0], [0.1, 0.2, 2.0], controls]}},
        {**about, "scores": {"": [[-3.0, -4.0], [0.1, -0.2, 0.3], controls]}},
    ]
    row = _by_condition([part for one in found for part in _parts(one, "toy")])["paper"]
    assert (row["members_called"], row["realised_rate"]) == (1, pytest.approx(1 / 3))
    few = [{**one, "scores": {"": [*one["scores"][""][:2], controls[:38]]}} for one in found]
    row = _by_condition([part for one in few for part in _parts(one, "toy")])["paper"]
    assert (row["members_called"], row["realised_rate"]) == (None, None), "too few controls: no verdict at all"


def test_a_variant_is_its_method_with_the_given_settings(bench, monkeypatch):
    monkeypatch.undo()
    assert bench._methods()["pian"] == PIA(normalise=True)
    assert bench._methods()["pia"] == PIA()
    assert list(replace(bench, rows=("pian", "pia"))._methods()) == ["pia", "pian"]
    with pytest.raises(ValueError, match="rows has no method 'pain'"):
        replace(bench, rows=("pain",))
    with pytest.raises(BadInput, match="cgi-dm leaves its verdict to another method"):
        replace(bench, rows=("cgi-dm",))._methods()


def test_a_suspect_of_the_published_dose_is_asked_about_another_set_in_a_worker_too(bench):
    """Workers are given a copy of the job."""
    jobs = [pickle.loads(pickle.dumps(job)) for job in bench._jobs()]
    assert [job.asked for job in jobs[:3]] == [
        [("paper", "one"), ("null", "two")],
        [("hard", "one")],
        [("captioned", "one")],
    ]
    assert [job.kind for job in jobs] == ["dreambooth", "lora", "dreambooth", "lora", "dreambooth", "lora"]


def test_sets_that_do_not_serve_are_named(bench):
    with pytest.raises(BadInput, match="no few-shot set called 'three'"):
        replace(bench, sets=("three",))(progress="none")
    with pytest.raises(BadInput, match="name two sets or more"):
        replace(bench, sets=("one", "one"))(progress="none")
