"""A whole audit by a method whose numbers are known: roles, signals, warnings, other prompts, and the stored result."""

import json
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from audit_scenes import model, nudged, pictures
from intaglio.audit.membership.audit import run_audit
from intaglio.audit.membership.family import AuditInputs, Authentication, Authenticator
from intaglio.audit.membership.pictures import AuditPictures
from intaglio.audit.membership.result import AuditResult, JudgedPicture
from intaglio.audit.membership.verdict import OtherPrompt
from intaglio.metrics.statistics.conformal import rank_test, threshold
from intaglio.metrics.statistics.enough_controls import Sides
from intaglio.metrics.statistics.roc import separation
from intaglio.runs.run import Run

CONTROLS = [0.01 * k for k in range(20)]


@dataclass(frozen=True)
class Told(Authenticator):
    """Gives the scores and losses that it was made with, by the pictures' order; another score under "dog"."""

    name = "told"
    reading: ClassVar[str] = "what it was told to say of the picture"
    signals: ClassVar[tuple[str, ...]] = ("difference",)
    loss_difference: ClassVar[str | None] = "difference"

    scores: tuple[float, ...] = ()
    differences: tuple[float, ...] = ()
    under_dog: tuple[float, ...] = ()

    @property
    def last_timestep(self) -> int:
        return 0

    def audit(self, inputs, images, run):
        run.record("told", inputs.prompt, {"scores": list(self.scores)})
        scores = self.under_dog if inputs.prompt == "dog" else self.scores
        signals = {"difference": torch.tensor(self.differences or scores, dtype=torch.float64).float()}
        return Authentication("told", images.names, torch.tensor(scores), signals)


@pytest.fixture(scope="module")
def inputs():
    base = model()
    return AuditInputs(nudged(base), base, "cat")


@pytest.fixture(scope="module")
def shown():
    return AuditPictures.of(pictures(3, seed=1), pictures(20, seed=2))


def audited(inputs, shown, questioned, **more):
    settings = {name: (*more.pop(name, ()),) for name in ("differences", "under_dog")}
    return run_audit(Told(scores=(*questioned, *CONTROLS), **settings), inputs, shown, **more)


def test_the_questioned_are_judged_against_the_controls(inputs, shown):
    found = audited(inputs, shown, (0.5, 0.1, -1.0))
    assert [one.called for one in found.questioned] == [True, False, False]
    assert found.questioned[0].p_value == pytest.approx(1 / 21)
    assert found.questioned[2].p_value == 1
    assert [one.score for one in found.controls] == pytest.approx(CONTROLS, abs=1e-6)
    assert all(one.called is None and one.p_value is None and one.truth is None for one in found.controls)
    assert found.readings == {"told score": Told.reading}


@dataclass(frozen=True)
class Turning(Told):
    """One whose sign is not stable."""

    name = "turning"
    sides: ClassVar[Sides] = "both"


def test_scores_of_a_method_of_both_sides_are_judged_to_both(inputs, shown):
    method = Turning(scores=(0.5, 0.1, -1.0, *CONTROLS))
    found = run_audit(method, inputs, shown, fpr=0.1)
    assert [one.called for one in found.questioned] == [True, False, True]
    assert found.questioned[2].p_value == pytest.approx(2 / 21)
    assert (found.threshold.sides, found.set_test.sides) == ("both", "both")
    assert found.two_sided == ("turning score",) == (found.score_name,)
    assert [one.score for one in found.ranked(found.questioned)] == pytest.approx([-1.0, 0.5, 0.1])
    few = run_audit(method, inputs, shown, fpr=0.05)
    assert [one.called for one in few.questioned] == [None] * 3
    assert "needs at least 39 controls" in few.statement


def test_of_signals_combined_those_of_a_method_of_both_sides_are_folded(inputs, shown):
    own = Told(scores=(0.5, 0.1, 0.1, *CONTROLS))
    turning = {"turning": Turning(scores=(-9.0, 0.1, 0.1, *CONTROLS))}
    found = run_audit(own, inputs, shown, fpr=0.05, signals=("score", "turning"), companions=turning)
    assert found.two_sided == ("turning",)
    assert found.threshold.sides == "upper"
    assert [one.called for one in found.questioned] == [True, False, False]
    alone = run_audit(own, inputs, shown, fpr=0.1, signals=("turning",), companions=turning)
    assert alone.threshold.sides == "both"
    assert alone.questioned[0].called is True


def test_known_pictures_outside_are_told_apart_by_evidence_to_both_sides(inputs):
    shown = AuditPictures.of(pictures(2, seed=1), pictures(20, seed=2), pictures(2, seed=3))
    roles = {"questioned": iter((9.0, -9.0)), "controls": iter(CONTROLS), "holdouts": iter((0.1, 0.12))}
    scores = tuple(next(roles[role]) for role in shown.roles)
    both, upper = (run_audit(kind(scores=scores), inputs, shown, fpr=0.1) for kind in (Turning, Told))
    assert both.separation.auc == 1
    assert upper.separation.auc == 0.5
    assert both.called == 2


def test_a_result_of_before_is_read_as_one_of_the_upper_side(inputs, shown):
    whole = audited(inputs, shown, (0.5, 0.1, -1.0))
    stored = json.loads(json.dumps(whole.to_dict()))
    for part, names in (("threshold", ("sides", "lower")), ("set_test", ("sides",))):
        for name in names:
            del stored[part][name]
    del stored["two_sided"]
    again = AuditResult.from_dict(stored)
    assert (again.threshold, again.set_test, again.two_sided) == (whole.threshold, whole.set_test, ())
    assert again.threshold.sides == "upper"


def test_swapped_models_are_told_from_the_declared_signal_alone(inputs, shown):
    low, level = (-2.0, -1.5, -1.8), [0.001 * k for k in range(20)]
    swapped = audited(inputs, shown, (0.5, 0.4, 0.6), differences=(*low, *level))
    assert any("swapped" in warning for warning in swapped.warnings)
    sound = audited(inputs, shown, (0.5, 0.4, 0.6), differences=(2.0, 1.5, 1.8, *level))
    assert not sound.warnings
    assert sound.no_signal is None
    none = audited(inputs, shown, (-0.5, -0.4, -0.6), differences=(0.01, 0.009, 0.011, *level))
    assert none.no_signal is not None
    apart = audited(inputs, shown, (0.5, 0.4, 0.6), differences=(0.01, 0.009, 0.011, *level))
    assert apart.called == 3
    assert apart.no_signal is None
    assert any("two signals disagree" in warning for warning in apart.warnings)


def test_a_picture_that_failed_is_not_judged_by_a_signal_of_an_unfinished_work(inputs, shown):
    differences = (9.0, 9.0, 9.0, *CONTROLS)
    found = audited(inputs, shown, (math.nan, 0.5, 0.6), differences=differences, signals=("difference",))
    assert [one.called for one in found.questioned] == [None, True, True]


def test_another_prompt_counts_changes_both_ways_and_leaves_the_records_alone(inputs, shown, tmp_path):
    about = {"seed": 0, "device": "cpu", "command": ["x"], "progress": "none"}
    with Run.open(tmp_path, "authenticate", "told", {}, {}, **about) as run:
        under_dog = (-1.0, 0.5, 0.5, *CONTROLS)
        found = audited(inputs, shown, (0.5, -1.0, 0.5), under_dog=under_dog, other_prompts=("dog", "cat"), run=run)
        assert set(run.recorded("told")) == {"cat"}
    (other,) = found.other_prompts
    assert (other.prompt, other.called, other.changed, other.pictures) == ("dog", 2, 2, 3)


def test_a_result_is_read_as_it_was_saved(tmp_path):
    members, holdouts = [0.9, 0.8, 0.3], [0.1, 0.5, 0.2]
    one = JudgedPicture("a.png", "questioned", 0.9, 0.05, True, True, "in the set", {"s": 1.5}, {"original": "a.png"})
    held = replace(one, name="h.png", role="holdouts", truth=False, called=False)
    control = JudgedPicture("c.png", "controls", 0.1, words="control")
    whole = AuditResult(
        method="told",
        score_name="told score",
        prompt="cat",
        questioned=(one, held),
        controls=(control,),
        threshold=threshold(CONTROLS, 0.05),
        set_test=rank_test(members, CONTROLS),
        separation=separation(members, holdouts),
        statement="1 of 1",
        no_signal="none",
        weights={"score": 0.4, "s": 0.6},
        readings={"told score": "words"},
        captions={"recovered": "refilled"},
        story="Look.",
        limits={"Half": "is kept"},
        other_prompts=(OtherPrompt("dog", 1, 0, 1),),
        diagnostics={"trace": [1, 2]},
    )
    whole.save(tmp_path)
    again = AuditResult.load(tmp_path)
    assert again is not None
    assert again == whole
    both = replace(whole, threshold=threshold(CONTROLS, 0.1, sides="both"), two_sided=("told score",))
    both.save(tmp_path)
    assert AuditResult.load(tmp_path) == both
    assert both.threshold.lower is not None
    assert json.loads((tmp_path / "verdict.json").read_text())["questioned"][1]["name"] == "holdouts/h.png"
