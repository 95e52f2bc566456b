import numpy as np
import pytest
import torch

from intaglio.errors import BadInput
from intaglio.explain.counterfactuals.result import Counterfactuals
from intaglio.runs.tensors import write_state


def result(**changes):
    """Two attributes of three pictures, the second one measured."""
    labels = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, 30.0]])
    after = np.array([[1.0, 15.0], [1.0, 20.0], [1.0, 25.0]])
    seen = np.full((3, 3, 2), np.nan)
    seen[:, :, 1] = [[10, 20, 32], [11, 20, 30], [15, 23, 27]]
    about = {
        "method": "m", "reading": "follow", "names": ("a", "b"), "edges": (("a", "b"),), "changes": {"a": 1.0},
        "pictures": ("x", "y", "z"), "learnt_from": 300, "taught": 300, "low": np.array([0.0, 10.0]),
        "range": np.array([2.0, 20.0]),
        "measures": ("", "ink-side"), "fits": (float("nan"), 0.9), "labels": labels, "held": np.zeros(3, bool),
        "before": labels + np.array([0.1, 0.0]), "after": after, "measured": seen,
    }  # fmt: skip
    return Counterfactuals(**{**about, **changes})


def test_errors_are_shares_of_the_range_with_intervals_over_pictures():
    found = result()
    assert found.error(1)[0] == pytest.approx((0 + 3 + 2) / 20 / 3)
    assert found.error(1, "before")[0] == pytest.approx((1 + 0 + 0) / 20 / 3)
    assert found.error(1, "original")[0] == pytest.approx(2 / 20 / 3)
    low, high = found.error(1)[1]
    assert 0 <= low < 0.08 < high <= 0.15
    assert found.misread.tolist() == pytest.approx([0.05, 0])
    assert "a = 1 in 3 pictures; the others follow: b by 0.17 of its range." in found.statement
    assert "0.08 (0.00 to 0.15) of the range of b" in found.statement


def test_rows_have_each_picture_and_attribute_and_no_number_where_nothing_is_measured():
    rows = result().rows()
    assert len(rows) == 6
    assert rows[0]["measured_after"] is None
    assert rows[3] == {
        "picture": "y", "attribute": "b", "label": 20, "before": 20, "after": 20, "measured": 20, "measured_before": 20,
        "measured_after": 23, "held_out": False,
    }  # fmt: skip
    figures = result().figures()["attributes"]
    assert figures["b"]["causes"] == ["a"]
    assert figures["b"]["set"] is None
    assert "error_after" not in figures["a"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learnt_from": 20}, "20 pictures are few"),
        ({"taught": 20}, "labels of 20 pictures are few to learn from; give 30 or more"),
        ({"taught": 40, "before": np.full((3, 2), 10.0)}, "an error of 4.50 of its range; give more labels or"),
        ({"changes": {"a": 3.0}}, "a = 3 is beyond what was learnt, 0 to 2"),
        ({"before": np.full((3, 2), 10.0)}, "a is read off pictures with an error of 4.50"),
        ({"fits": (float("nan"), 0.3)}, "explains 0.30 of the variance of b"),
        ({"after": np.full((3, 2), 30.0)}, "the pictures show b 0.42 of its range off what is told"),
    ],
)
def test_doubts_are_told(changes, words):
    assert result().warnings == ()
    assert any(words in one for one in result(**changes).warnings)


def test_labels_that_were_held_out_judge_what_is_read_and_none_is_asked_of_others():
    whole = result()
    labels = whole.labels.copy()
    labels[1] = np.nan
    before = whole.before + np.array([[0.0, 0.0], [0.0, 0.0], [0.5, -4.0]])
    held = np.array([False, False, True])
    found = result(labels=labels, held=held, before=before, taught=50)
    assert found.misread.tolist() == pytest.approx([0.6 / 2, 4 / 20])
    assert result(labels=labels, before=before).misread.tolist() == pytest.approx([0.35 / 2, 2 / 20])  # none held out
    assert found.error(1, "original")[0] == pytest.approx((0 + 2) / 20 / 2)
    assert (
        "Labels of 50 of 300 pictures were learnt; values read off those whose labels were held out (1)"
        in found.statement
    )
    assert "miss a by 0.30 of its range, b by 0.20 of its range." in found.statement
    few = result(labels=labels, before=before, taught=2)
    assert "read off 2 of these, for want of labels to hold out, miss a by" in few.statement
    assert any("judged by labels that were learnt" in one for one in few.warnings)
    assert not any("judged by labels that were learnt" in one for one in (*found.warnings, *whole.warnings))
    assert "Labels of" not in whole.statement
    assert found.rows()[2]["label"] is None
    assert [row["held_out"] for row in found.rows()] == [False] * 4 + [True] * 2


def test_what_is_stored_is_read_again_and_damage_is_told(tmp_path):
    found = result()
    found.save(tmp_path)
    stored = Counterfactuals.load(tmp_path)
    assert (stored.statement, stored.warnings, stored.rows()) == (found.statement, found.warnings, found.rows())
    assert (tmp_path / "counterfactuals.csv").read_text().splitlines()[1].startswith("x,a,0")
    tensors, about = found._parts()
    write_state(tmp_path / "counterfactuals.safetensors", {**tensors, "low": torch.zeros(3)}, about)
    with pytest.raises(BadInput, match="do not fit each other"):
        Counterfactuals.load(tmp_path)
    result(changes={"x": 1.0}).save(tmp_path)
    with pytest.raises(BadInput, match="the graph and the attributes"):
        Counterfactuals.load(tmp_path)


def test_nothing_is_found_where_nothing_is_stored(tmp_path):
    assert Counterfactuals.load(tmp_path) is None
    assert torch.is_grad_enabled()
