"""The time of an audit: every call that methods tell of, at planted seconds of each."""

from dataclasses import dataclass, field

import pytest

import tiny
from intaglio.audit.membership import audit_plan as planning
from intaglio.audit.membership.audit_plan import audit_plan
from intaglio.audit.membership.cost import DenoiserCalls
from intaglio.audit.membership.family import AuditInputs
from intaglio.audit.membership.methods.loss_gap import LossGap
from intaglio.models.diffusion.loading import load_model


@dataclass(frozen=True)
class Told(LossGap):
    """A method that asks for one call of 4 rows a picture and model, and remembers what it was asked."""

    name = "told"
    asked: list = field(default_factory=list)

    def calls(self, pictures, models):
        self.asked.append((pictures, models))
        return [DenoiserCalls({4: pictures * models}, encoded=pictures, decoded=2)]


@dataclass(frozen=True)
class Silent(LossGap):
    name = "silent"

    def calls(self, pictures, models):
        return []


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    base, suspect = tiny.pair_folders(tmp_path_factory.mktemp("models"))
    return load_model(suspect), load_model(base)


@pytest.fixture(autouse=True)
def a_second_each(monkeypatch):
    monkeypatch.setattr(planning, "seconds_of", lambda call, device: 1.0)


@pytest.mark.parametrize("alone", [False, True])
def test_all_pictures_of_all_models_are_counted_under_every_prompt(models, alone):
    inputs, count = AuditInputs(models[0], None if alone else models[1], "x"), 1 if alone else 2
    method = Told()
    one, two = (audit_plan([method], inputs, 5, prompts) for prompts in (1, 2))
    assert method.asked == [(5, count)] * 2
    # 5 calls of each model, all of as many rows as the timed one, 5 encodings, 2 decodings
    assert dict(one.parts) == {"told": 5 * count + 5 + 2}
    assert two.seconds == 2 * one.seconds


def test_a_method_that_tells_nothing_is_named_and_not_counted(models):
    plan = audit_plan([Told(), Silent()], AuditInputs(*models, "x"), 5)
    assert set(plan.parts) == {"told"}
    assert "silent cannot tell" in str(plan)
    assert "at most" in str(plan)


def test_a_large_batch_is_timed_at_eight_rows(models):
    calls = DenoiserCalls({32: 3, 5: 2})
    assert planning._seconds(calls, AuditInputs(*models, "x")) == (32 * 3 + 5 * 2) / 8
