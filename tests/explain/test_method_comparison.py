"""Rows of an evaluation, their intervals and aggregate maps, stored and read again."""

import pytest
import torch

from intaglio.errors import BadInput
from intaglio.explain.method_comparison import EvaluatedRow, MethodComparison, rows_of
from intaglio.explain.methods.grad_cam import GradCAM
from intaglio.explain.methods.input_gradient import InputGradient
from intaglio.explain.methods.rise import RISE
from intaglio.explain.trials import TrialAnswers
from intaglio.runs.tensors import write_state


def answers(**changes):
    """Two grids, whose first corners are all right and all wrong."""
    maps = torch.zeros(4, 128, 128)
    maps[0, :64, :64], maps[1, :64, :64], maps[2, 64:, 64:], maps[3, 64:, 64:] = 1, 1, 1, 1
    of_pictures = dict.fromkeys(("insertion", "deletion", "sanity"), (0.8, 0.6, 0.9))
    found = {**of_pictures, "chance": (0.1, 0.2, 0.1), "passes": (2, 4, 6), "gridpg": (1.0, 0.0, 0.0, 1.0)}
    return TrialAnswers(**{**found, "difull": (), "pointed": maps, "split": torch.empty(0, 1, 1), **changes})


def row_maps():
    return torch.ones(4, 128, 128)


def test_rows_are_methods_as_they_are_smoothed_and_at_layers():
    methods = {"rise": RISE(), "grad-cam": GradCAM(), "input-gradient": InputGradient()}
    rows = rows_of(methods, ["one", "two"], 17)
    assert list(rows) == [
        "rise", "grad-cam at one", "grad-cam at two",
        "input-gradient", "input-gradient smooth 17", "input-gradient at one", "input-gradient at two",
    ]  # fmt: skip
    assert (rows["input-gradient at two"].layer, rows["input-gradient at two"].smooth) == ("two", 0)
    assert list(rows_of({"grad-cam": GradCAM(), "input-gradient": InputGradient()}, [], 0)) == [
        "grad-cam",
        "input-gradient",
    ]


def test_strips_are_of_first_corners_and_intervals_of_grids():
    row = EvaluatedRow.of("x", InputGradient(), answers())
    assert row.pointed.shape == (6, 64, 64)
    best, worst = (row.pointed[k] for k in (0, -1))
    assert float(best[:32, :32].sum()) == pytest.approx(float(best.sum()))
    assert float(worst[32:, 32:].sum()) == pytest.approx(float(worst.sum()))
    assert row.split.isnan().all()
    assert (row.mean("gridpg"), row.mean("difull"), row.passes) == (0.5, None, 4.0)
    assert row.bounds("gridpg") == (0.5, 0.5)  # both grids have one corner right
    both = EvaluatedRow.of("x", InputGradient(), answers(difull=(1.0, 0.0, 0.0, 1.0), split=row_maps()))
    assert both.bounds("difull") == (0.5, 0.5)
    assert row.layer == "input"
    assert EvaluatedRow.of("y", GradCAM(layer="z"), answers()).layer == "z"


def test_stored_and_read_again_and_a_damaged_file_is_told(tmp_path):
    poor = EvaluatedRow.of("poor", InputGradient(), answers(insertion=(0.1, 0.2, 0.1)))
    found = MethodComparison("kind", 3, 2, (EvaluatedRow.of("good", InputGradient(), answers()), poor))
    assert found.no_better_than_chance == ["poor"]
    assert "good has the highest insertion (0.77; by chance 0.13), ahead of 1 beyond the intervals" in found.statement
    assert found.behind(found.compared[0]) == ["poor"]
    no_grids = EvaluatedRow.of("x", InputGradient(), answers(gridpg=(), pointed=torch.empty(0, 1, 1)))
    alone = MethodComparison("kind", 3, 0, (no_grids,))
    assert alone.statement.endswith("; the pictures make no grid.")
    assert (alone.figures()["gridpg_best"], alone.rows()[0]["gridpg_low"]) == (None, None)
    found.save(tmp_path)
    again = MethodComparison.load(tmp_path)
    assert again.rows() == found.rows()
    torch.testing.assert_close(again.compared[1].pointed, poor.pointed, equal_nan=True)
    assert again.to_frame().loc["good", "gridpg"] == 0.5
    write_state(tmp_path / "evaluation.safetensors", {}, {"head": "kind", "pictures": 1, "grids": 1, "rows": []})
    with pytest.raises(BadInput, match="is damaged .there are no rows.; delete it"):
        MethodComparison.load(tmp_path)
