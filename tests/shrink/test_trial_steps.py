"""The time of methods that learn: that of a trial, and of the steps that it leaves out."""

from dataclasses import dataclass

import pytest

import tiny
from intaglio.models.diffusion.loading import load_model
from intaglio.shrink import healing_settings, trial_steps, unit_by_unit
from intaglio.shrink.calibration_states import made_up_rows
from intaglio.shrink.methods.hierarchical import HierarchicalPrune
from intaglio.shrink.methods.pela import PELA
from intaglio.shrink.methods.qdiffusion import QDiffusion
from intaglio.shrink.trial_steps import trial_rows, trial_seconds


@dataclass(frozen=True, kw_only=True)
class Ticking(PELA):
    """A method of two phases, of which a step takes 3 s and 7 s, and 100 s once."""

    name = "ticking"
    match_steps: int = 50

    def __call__(self, model, calibration=None, *, base=None, run=None):
        NOW[0] += 100
        SEEN.append((self.steps, self.match_steps))
        for label, steps, each in (("match", self.match_steps, 7), ("healing", self.steps, 3)):
            with run.progress(steps, label) as progress:
                for _ in range(steps):
                    NOW[0] += each
                    progress.advance()


NOW, SEEN = [0.0], []


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("model") / "m"))


def test_steps_that_are_left_count_as_those_that_are_made(model, monkeypatch):
    monkeypatch.setattr(trial_steps.time, "perf_counter", lambda: NOW[0])
    phases = {"healing": "steps", "match": "match_steps"}
    assert trial_seconds(Ticking(steps=500), model, 4, phases) == 100 + 500 * 3 + 50 * 7
    assert trial_seconds(Ticking(steps=2, match_steps=3), model, 4, phases) == 100 + 2 * 3 + 3 * 7
    assert SEEN == [(4, 4), (2, 3)]


@pytest.mark.parametrize("batch", [1, 8, 14, 15, 16, 64])
def test_a_trial_has_a_batch_to_learn_from_and_rows_to_judge_by(model, batch):
    rows = made_up_rows(model, trial_rows(batch))
    assert len(rows.learned) >= batch
    assert len(rows.held) > 0
    assert all(len(part) > 0 for part in rows.learned.parted)


def test_rows_before_a_training_are_counted_beside_its_trial(model, monkeypatch):
    asked = []
    monkeypatch.setattr(healing_settings, "trial_seconds", lambda *given, **cheaper: asked.append(cheaper) or 50.0)
    monkeypatch.setattr(healing_settings, "planned_seconds", lambda calls, model, rows: float(calls.forward))
    assert PELA().seconds(model, 32) == 50 + 32  # the full network is asked for every row once
    assert PELA(features=1.0).seconds(model, 32) == 50  # in every step, which the trial has
    method = HierarchicalPrune()
    assert method.seconds(model, 32) == 50 + 32 + method.scored_rows(model)
    assert asked == [{}, {}, {"probes": 1}]


def test_passes_up_to_units_are_counted_beside_their_trial(model, monkeypatch):
    monkeypatch.setattr(unit_by_unit, "trial_seconds", lambda *given: 50.0)
    monkeypatch.setattr(unit_by_unit, "planned_seconds", lambda calls, model, rows: float(calls.forward))
    method = QDiffusion()
    passes = (method.planned(model, 40).rows - 3 * method.iterations * method.batch) // 40
    assert passes > 5
    assert method.seconds(model, 40) == 50 + passes * (40 - trial_rows(method.batch))
