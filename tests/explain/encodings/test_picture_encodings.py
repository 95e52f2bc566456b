import dataclasses

import numpy as np
import pytest
import torch

from intaglio.explain.encodings import label_slots as slots_module
from intaglio.explain.encodings.encoding_networks import PictureEncoder
from intaglio.explain.encodings.label_slots import label_slots
from intaglio.explain.encodings.noise_slots import NoiseSlots
from intaglio.explain.encodings.result import PictureEncodings
from intaglio.explain.encodings.swapped_slots import slot_parts, swapped_codes

SLOTS = NoiseSlots((10, 20, 100), (1, 2, 1))


def encodings(errors: torch.Tensor) -> PictureEncodings:
    return PictureEncodings(
        method="diti", reading="some", slots=SLOTS, confused=(0.1, 0.2, 0.4), names=("a", "b"),
        codes=torch.zeros(2, 4), encoder=PictureEncoder(4), times=(5, 50, 95), errors=errors.double().numpy(), pairs=(),
        originals=torch.zeros(0, 3, 8, 8), swapped=None, labels=(),
    )  # fmt: skip


def test_what_is_made_up_is_the_share_of_the_error_by_slot():
    found = encodings(torch.tensor([[[1.0, 3.0], [2.0, 2.0], [4.0, 0.0]], [[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]]))
    assert found.made_up == (pytest.approx(0.5), None, pytest.approx(0.25))
    share, (low, high) = found.all_made_up
    assert share == pytest.approx(1 - 8 / 12)
    assert low <= share <= high
    assert [line[4] for line in found.lines()] == ["made up", "50.0%", "-", "25.0%", "33.3%"]
    assert not found.warnings


def test_numbers_that_make_up_nothing_are_warned_of():
    same = torch.ones(2, 3, 2)
    assert "next to nothing" in encodings(same).warnings[0]


def test_a_swap_takes_the_numbers_of_its_slots_from_the_second():
    codes = torch.stack([torch.zeros(4), torch.ones(4)])
    assert [(part.start, part.stop) for part in slot_parts(SLOTS)] == [(0, 1), (1, 4)]
    assert swapped_codes(codes, SLOTS)[2:].tolist() == [[1, 0, 0, 0], [0, 1, 1, 1]]
    assert swapped_codes(codes, NoiseSlots((5,), (4,)))[2:].tolist() == [[1, 1, 1, 1]]


def test_a_label_is_read_from_the_slot_that_has_it():
    labels = ["x", "y"] * 10
    codes = np.random.default_rng(0).standard_normal((20, 4)) * 0.1
    codes[:, 1] += np.where(np.array(labels) == "x", 1, -1)
    (found,) = label_slots(codes, SLOTS, {"kind": labels}, None, 4, 1.0, 0)
    assert (found.best, found.accuracies[1], found.accuracies[3], found.chance) == (1, 1.0, 1.0, 0.5)
    assert max(found.accuracies[0], found.accuracies[2]) < 0.9
    told = dataclasses.replace(encodings(torch.ones(2, 3, 2)), labels=(found,))
    assert "1.00 by those of slot 2, the best (by chance 0.50)" in told.statement
    assert [row["slot"] for row in told.rows()] == ["1", "2", "3", "all"]


def test_twins_are_never_on_both_sides_of_a_fold(monkeypatch):
    folds, real = [], slots_module.folds_of
    monkeypatch.setattr(slots_module, "folds_of", lambda *given: folds.append(real(*given)) or folds[-1])
    twins = [f"name {k // 2}" for k in range(40)]
    label_slots(np.zeros((40, 4)), SLOTS, {"kind": ["x", "x", "y", "y"] * 10}, twins, 4, 1.0, 0)
    assert folds[0][::2].tolist() == folds[0][1::2].tolist()
    assert len(set(folds[0].tolist())) == 4
