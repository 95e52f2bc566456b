"""Times of steps, as the progress of work advances."""

import pytest

from intaglio.runs import trial_run
from intaglio.runs.trial_run import TrialRun


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(trial_run.time, "perf_counter", lambda: now[0])
    return now


def test_first_steps_are_left_out_and_pieces_add_up(clock):
    run = TrialRun()
    for piece, step in enumerate((2.0, 5.0)):
        with run.progress(3, "steps") as progress:
            clock[0] += 100 * (piece + 1)
            for k in range(3):
                clock[0] += 40 if k == 0 else step
                progress.advance()
    assert run.step_seconds("steps", 3) == 2 + 5
    assert run.step_seconds("steps", 1) == 0
    assert run.step_seconds("other", 3) == 0


def test_it_keeps_nothing_and_says_nothing(tmp_path, caplog):
    run = TrialRun()
    run.record("kind", "key", {"a": 1})
    run.warn("a warning")
    assert (run.recorded("kind"), run.folder, caplog.messages) == ({}, None, [])
