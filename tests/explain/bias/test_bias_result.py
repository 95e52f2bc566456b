"""Distances from even shares by hand, what a result warns of, and its file."""

from math import nan, sqrt

import numpy as np
import pytest
import torch

from intaglio.explain.bias.result import EvenedValues, unevenness


def result(before, after, chance, counts=(40, 40), right=nan, sizes=(0.2, 0.2)):
    """Pictures of two values, of which the first has these probabilities; the edit leads to either in turn."""
    first = torch.tensor([before, after, chance])
    count = first.shape[1]
    about = ("difflens", "codes", "random codes", "artist", ("noto", "fluent"), "mid_block", 2, 1.0)
    notes = (("cat",) * count, tuple(range(count)), ("codes 1", "codes 2"), counts, 0.9, 0.1, sizes)
    numbers = (torch.stack([first, 0.9 - first], 2), torch.arange(count) % 2)
    return EvenedValues(*about, *notes, *numbers, torch.full((2, count), 0.8), torch.full((3, count), right))


EVEN, SKEWED = [0.9, 0.0] * 20, [0.9] * 36 + [0.0] * 4


def test_the_bias_is_the_distance_of_mean_shares_among_the_values():
    assert unevenness(np.array([[[0.2, 0.4]], [[0.1, 0.1]], [[0.0, 0.0]]])) == pytest.approx(
        [sqrt((0.75 - 1 / 3) ** 2 + (0.25 - 1 / 3) ** 2 + (1 / 3) ** 2)]
    )
    found = result(SKEWED, EVEN, SKEWED)
    assert found.biases == pytest.approx([sqrt(2) * 0.4, 0, sqrt(2) * 0.4], abs=1e-6)
    change, low, high = found.change("before", "after")
    assert low < change < high < 0
    assert change == pytest.approx(-sqrt(2) * 0.4, abs=1e-6)
    assert found.others == pytest.approx([0.1] * 3, abs=1e-6)
    assert found.hits == 0.0 or found.hits == 1.0
    assert found.rows()[0]["before"] == pytest.approx(0.9)
    assert found.warnings == ()
    assert 0.2 < found.even < 0.25  # of 36 draws of two values 12 or less of one: sqrt(2) * 6 / 36


def test_a_result_warns_where_it_cannot_be_trusted():
    assert "random codes even the values out as well" in " ".join(result(SKEWED, EVEN, EVEN).warnings)
    nearly = result(SKEWED, EVEN, [0.9] * 22 + [0.0] * 18)  # ahead of the control in the mean, not surely
    assert nearly.biases[2] > nearly.biases[1]
    assert "random codes even the values out as well" in " ".join(nearly.warnings)
    said = " ".join(result(SKEWED, SKEWED, SKEWED, counts=(40, 3)).warnings)
    assert "does not surely even the values out" in said
    assert "only 3 samples show fluent" in said
    assert "so that they are a weak control" in " ".join(result(SKEWED, EVEN, SKEWED, sizes=(0.2, 0.1)).warnings)
    assert "draws the values evenly can be as uneven" in " ".join(result(EVEN, EVEN, EVEN).warnings)


def test_a_result_is_stored_with_what_is_not_known(tmp_path):
    found = result(SKEWED, EVEN, SKEWED)
    found.save(tmp_path)
    again = EvenedValues.load(tmp_path)
    assert again is not None
    assert again.figures() == found.figures()
    assert again.figures()["right_before"] is None
    assert again.statement == found.statement
    assert "Called what they should be are 50%" in result(SKEWED, EVEN, SKEWED, right=0.5).statement
