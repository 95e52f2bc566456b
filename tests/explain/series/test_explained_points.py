"""Explained series: the planted point, parts, the stored result, a stopped training, and what is refused."""

import numpy as np
import pytest
import torch

from intaglio.errors import BadInput
from intaglio.explain.series.methods.series_gradients import SeriesGradients
from intaglio.explain.series.methods.timex import TimeX
from intaglio.explain.series.result import ExplainedPoints
from intaglio.explain.series.series_network import times
from series_scenes import LONGER, SMALL, small


def test_every_class_is_held_out_in_its_share():
    series = small(40)
    learnt, held = TimeX(**SMALL, folds=4).parts(series)
    assert sorted([*learnt.tolist(), *held.tolist()]) == list(range(40))
    assert series.codes[held].bincount().tolist() == [5, 5]
    other = TimeX(**SMALL, folds=4, seed=1).parts(series)[1]
    assert other.tolist() != held.tolist()


def test_times_are_told_apart_by_sines_and_cosines():
    found = times(4, 4)
    assert found[3].tolist() == pytest.approx([np.sin(3), np.cos(3), np.sin(0.03), np.cos(0.03)], abs=1e-6)


def test_stored_and_read_again(tmp_path):
    found = SeriesGradients(**{**SMALL, "updates": 30, "learning_rate": 0.01})(small())
    found.save(tmp_path)
    again = ExplainedPoints.load(tmp_path)
    assert again is not None
    assert (again.rows(), again.figures(), again.statement) == (found.rows(), found.figures(), found.statement)
    assert torch.equal(again.importances, found.importances)


def test_importances_that_say_nothing_are_warned_of():
    class Backwards(SeriesGradients):
        def importances(self, *given):
            return -super().importances(*given)

    found = Backwards(**LONGER)(small(120))
    assert any("an order by chance takes the called class as soon" in one for one in found.warnings)
    assert any("do not go with what their swap changes" in one for one in found.warnings)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda: small(8), "class a has 4 series, too few"),
        (lambda: type(small())(small().names, small().values[:, :2], small().labels, ("x", "y")), "have 2 times"),
    ],
)
def test_too_little_is_refused(changed, words):
    with pytest.raises(BadInput, match=words):
        SeriesGradients(**SMALL)(changed())
