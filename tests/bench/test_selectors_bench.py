"""Figures of the bench of selectors, from rows that were planted, and rows that are measured on few pictures."""

import pytest
import torch

from intaglio.bench.selectors.bench import MEANS, SelectorsBench, emoji_row, figures_of, planted_row
from intaglio.explain.selectors.methods.comet import Comet
from intaglio.explain.selectors.methods.grad_cam_mask import GradCamMask
from intaglio.models import testbed

FEW = {"epochs": 1, "rows": 16, "widths": (4,)}


def planted(method: str, seed: int, recall: float) -> dict:
    return {**dict.fromkeys(MEANS, 0.5), "method": method, "seed": seed, "recall": recall}


def emoji(accuracy: float) -> dict:
    return {
        "accuracy": accuracy, "difference": -0.1, "difference_interval": [-0.2, 0.0], "area": 0.2,
        "plain_on_left_out": 0.3, "second_on_unshown": 0.4, "insertion_mask": 0.6, "insertion_difference": 0.05,
        "insertion_interval": [0.0, 0.1],
    }  # fmt: skip


def test_gains_are_of_the_same_seeds():
    rows = [planted("comet", 0, 0.9), planted("without-detector", 0, 0.2), planted("comet", 1, 0.8)]
    rows.append(planted("without-detector", 1, 0.5))
    figures = figures_of({str(k): one for k, one in enumerate(rows)}, {"comet": emoji(0.7)}, 1.0)
    assert (figures["recall_comet"], figures["recall_without_detector"]) == (pytest.approx(0.85), pytest.approx(0.35))
    assert (figures["recall_gain"], figures["least_recall_gain"]) == (pytest.approx(0.5), pytest.approx(0.3))
    assert (figures["emoji_accuracy"], figures["emoji_insertion_difference"]) == (0.7, 0.05)
    lines = SelectorsBench().summary(figures).splitlines()
    assert lines[1].split()[:2] == ["comet", "0.85"]
    assert lines[-1].split()[:3] == ["comet", "0.70", "-0.10"]


def test_rows_are_measured():
    found = planted_row(Comet(**FEW, selector_widths=(4,)), 40, 16, 4, 0, "cpu")
    assert {*MEANS} <= found.keys()
    images = testbed.real_pictures()[list(range(0, 340, 6))]
    row = emoji_row(GradCamMask(**FEW), images, 2, "cpu")
    assert row["insertion_difference"] == pytest.approx(row["insertion_mask"] - row["insertion_grad_cam"])
    assert row["labels"] == 3
    assert torch.tensor([row["insertion_random"], row["insertion_mask"]]).ge(0).all()
