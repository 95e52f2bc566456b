"""The time of an extraction: pictures that one worker draws in a row, and what one process does alone."""

import pytest
import torch

from intaglio.extract import cost
from intaglio.extract.cost import ExtractionPlan, in_a_row


@pytest.mark.parametrize(
    ("count", "batch", "workers", "row"),
    [
        (60, 20, 1, 60),
        (60, 20, 2, 40),  # a round is of three batches, and the third is drawn by one worker while the other waits
        (60, 20, 3, 20),
        (120, 20, 2, 80),
        (50, 20, 2, 30),  # 20 and 10
        (9, 20, 2, 9),
        (100, 5, 2, 50),
        (0, 20, 2, 0),
    ],
)
def test_a_round_ends_with_its_last_batch(count, batch, workers, row):
    assert in_a_row(count, batch, workers) == row


def test_suspect_and_control_are_drawn_one_after_the_other():
    plan = ExtractionPlan(60, 60, 20, workers=2, batch=20, picture_s=0.5, descriptor_s=0.1)
    assert plan.seconds == pytest.approx(2 * 40 * 0.5 + 120 * 0.1)


def test_a_picture_is_timed_with_the_threads_of_a_worker(monkeypatch):
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    with cost._threads_of_a_worker(3):
        assert seen == [2]
    assert seen == [2, 8]
    monkeypatch.undo()
    assert torch.get_num_threads() == before
