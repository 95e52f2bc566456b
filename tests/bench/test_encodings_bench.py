"""Figures of the bench of encodings, from rows that were planted."""

import numpy as np
import pytest
import torch

from intaglio.bench.encodings import bench
from intaglio.bench.encodings.bench import EncodingsBench, figures_of, kept_calls


def row(right: int, made_up: float | None = None) -> dict:
    """Twelve pictures, four of each of three classes, the first `right` of each class named right."""
    truth = np.arange(12) % 3
    answers = np.where(np.arange(12) // 3 < right, truth, (truth + 1) % 3)
    one = {
        "accuracy": right / 4, "interval": [0.0, 1.0], "by_slot": [0.5], "best_slot": 1, "chance": 1 / 3,
        "truth": truth.tolist(), "groups": list(range(12)), "answers": answers.tolist(),
    }  # fmt: skip
    kept = {} if made_up is None else {"artist early": 0.5, "artist whole": 0.25}
    return {"made_up": made_up, "kept": kept, "artist": one, "kind": one}


def test_rows_are_set_beside_diti_on_the_same_pictures():
    figures = figures_of({"diti": row(3, 0.1), "untrained": row(1)}, 1.0)
    assert (figures["artist_diti"], figures["kind_untrained"], figures["made_up_diti"]) == (0.75, 0.25, 0.1)
    low, high = figures["ahead"]["untrained"]["kind"]["interval"]
    assert low < figures["ahead"]["untrained"]["kind"]["difference"] == 0.5 < high
    assert "truth" not in figures["rows"]["diti"]["kind"]
    assert "made_up_untrained" not in figures
    lines = [line.split() for line in EncodingsBench().summary(figures).splitlines()]
    assert [line[0] for line in lines] == ["row", "diti", "untrained"]
    assert lines[1][1:5] == ["0.100", "0.750", "0.750", "0.500"]


def test_swaps_are_kept_where_they_are_called_as_the_first_drawing(monkeypatch):
    def classifier():
        return lambda pixels: {
            name: torch.stack([1 - pixels[:, 0, 0, 0], pixels[:, 0, 0, 0]], 1) for name in bench.LABELS
        }

    monkeypatch.setattr(bench.testbed, "classifier", classifier)
    level = torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]])
    found = kept_calls(level[..., None, None, None].expand(2, 4, 3, 2, 2), ("first", "second", "early", "late"))
    assert found["kind whole"] == pytest.approx(0.5)
    assert (found["artist early"], found["artist late"]) == (1.0, 0.0)
