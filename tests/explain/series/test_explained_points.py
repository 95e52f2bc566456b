"""Explained series: the planted point, parts, the stored result, a stopped training, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from intaglio.errors import BadInput
from intaglio.explain.series.methods.series_gradients import SeriesGradients
from intaglio.explain.series.methods.timex import TimeX
from intaglio.explain.series.result import ExplainedPoints
from intaglio.explain.series.series_network import times
from intaglio.explain.series.taught_series import SeriesLessons
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


def test_what_is_held_out_is_not_learnt_from(monkeypatch):
    series, method = small(40, 4.0), SeriesGradients(**LONGER)
    learnt, held = method.parts(series)
    seen, real = [], SeriesLessons.of

    def noting(values, codes, classes):
        seen.append(values)
        return real(values, codes, classes)

    monkeypatch.setattr(SeriesLessons, "of", noting)
    method(series)
    assert torch.equal(seen[0], series.values[learnt])
    assert not set(learnt.tolist()) & set(held.tolist())


def test_a_group_is_held_out_whole_and_a_class_of_one_group_is_refused():
    plain = small(40)
    groups = tuple(f"g{k // 4}" for k in range(40))  # each has series of both classes
    series = replace(plain, groups=groups)
    learnt, held = SeriesGradients(**SMALL, folds=4).parts(series)
    assert not {groups[k] for k in learnt.tolist()} & {groups[k] for k in held.tolist()}
    alone = replace(plain, groups=plain.labels)
    with pytest.raises(BadInput, match="all series of class a are of one group"):
        SeriesGradients(**SMALL).parts(alone)


def test_the_first_point_is_told_by_its_own_time_and_channel():
    found = SeriesGradients(**LONGER)(replace(small(120, 4.0), times=(10.0, 20.0, 30.0, 40.0, 50.0)))
    rows = found.rows()
    assert [(row["first_time"], row["first_channel"]) for row in rows].count((20.0, "x")) > len(rows) / 2


def test_few_held_out_series_are_warned_of():
    found = SeriesGradients(**LONGER)(small(20, 5.0))
    assert any("4 held-out series are few" in one for one in found.warnings)
