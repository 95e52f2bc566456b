"""The time of a calibration, in units of decoding patch by patch."""

import pytest

from intaglio.flow.block.guidance import UNGUIDED
from intaglio.flow.calibrate import calibration_time as planning
from intaglio.flow.calibrate.calibration_time import calibration_time, choices_tried
from intaglio.models.flow.shipped import open_flow


@pytest.mark.parametrize(
    ("tokens", "count"), [(4, 10), (6, 10 + 2), (18, 10 + 4 + 4), (64, 10 + 4 + 8), (1000, 10 + 4 + 16)]
)
def test_all_sweeps_and_windows_that_fit_are_counted(tokens, count):
    assert choices_tried(tokens) == count


def test_every_part_is_counted_in_sequential_decodings(monkeypatch):
    monkeypatch.setattr(planning, "_sequential_seconds", lambda model, pictures, guidance: float(pictures))
    model = open_flow("cpu-tiny").model  # 4 blocks of 64 patches
    found = calibration_time(model, 8, UNGUIDED)
    assert (found.at_most, model.config.num_blocks, model.config.tokens) == (True, 4, 64)
    assert dict(found.parts) == pytest.approx(
        {
            "sequential decoding": 64 + 48 + 3 * 24 + 3 * 8,
            "growth of errors": (1 + 3) * 8 * 1.5,
            "curves of sweeps": 2 * 5 * 24,
            "choices": 22 * (8 + (24 + 2 * 3 * 8) / 3),
            "proof": 9 * (3 + 6) * 8 + 2 * 9 * 8,
        }
    )
