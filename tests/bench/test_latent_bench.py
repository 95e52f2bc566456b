"""The plain formulation of a step gives the values of the one that is used, and the bench sets them side by side."""

import pytest
import torch

from intaglio.bench.latent import latent_plan as room
from intaglio.bench.latent.bench import LatentBench
from intaglio.bench.latent.plain_abic import plain_gradients, plain_violation, pseudo_variables
from intaglio.bench.latent.step_times import WEIGHT, values
from intaglio.causal.confounding.gram_loss import error_precision, least_squares, least_squares_gradients
from intaglio.causal.confounding.penalties import violation, violation_gradients


@pytest.mark.parametrize("d", [3, 8])
def test_the_plain_step_is_equal_in_value_and_gradients(d):
    rows, arrows, doubles, before, variances = values(d, 50, 1)
    pseudo = pseudo_variables(rows, before, doubles + torch.diag(variances))
    given = (rows.T @ rows / 50, arrows, doubles, before, error_precision(doubles, variances))
    total, along_arrows, along_doubles = plain_gradients(rows, pseudo, arrows, doubles, WEIGHT)
    assert total == pytest.approx(
        float(least_squares(*given) + WEIGHT * violation(arrows, doubles, "ancestral")), rel=1e-9
    )
    _, fitted_arrows, fitted_doubles = least_squares_gradients(*given)
    _, kept_arrows, kept_doubles = violation_gradients(arrows, doubles, "ancestral")
    torch.testing.assert_close(along_arrows, fitted_arrows + WEIGHT * kept_arrows, rtol=1e-8, atol=1e-10)
    off = ~torch.eye(d, dtype=torch.bool)
    torch.testing.assert_close(along_doubles[off], (fitted_doubles + WEIGHT * kept_doubles)[off], rtol=1e-8, atol=1e-10)


def test_the_series_is_that_of_the_penalty():
    _, arrows, doubles, *_ = values(6, 10, 2)
    expected = float(violation(arrows, doubles, "ancestral"))
    assert float(plain_violation(arrows, doubles)) == pytest.approx(expected, rel=1e-9)


def test_the_bench_measures_both_ways_and_tells_the_ratio(tmp_path, monkeypatch):
    asked = []

    def changing(cells, tables, seed):
        asked.append((cells[0].key, tables, seed))
        return {cells[0].key: {"cd-nod": {"direction_precision": 0.75, "changing_f1": None}}}

    monkeypatch.setattr(room, "changing_figures", changing)
    bench = LatentBench(
        suites=("steps", "changing"), columns=(3, 4), rows=20, repeats=2, tables=4, seed=3, runs=tmp_path
    )
    figures = bench(progress="none")
    for d in (3, 4):
        of = figures[f"{d} columns"]
        assert of["step_ratio"] == pytest.approx(of["plain_step_seconds"] / of["step_seconds"])
        assert of["largest_difference"] < 1e-8
    assert "4 columns" in bench.summary(figures)
    assert asked == [(cell.key, 4, 3) for cell in room.CELLS]
    assert list(figures["changing"]) == sorted(cell.key for cell in room.CELLS)
    assert "direction precision 0.750  changing f1 -" in bench.summary(figures)
    assert "changing" not in LatentBench(suites=("steps",), columns=(3,), rows=20, repeats=1, runs=tmp_path)(
        progress="none"
    )
    assert bench(progress="none") == figures


@pytest.mark.parametrize(
    ("setting", "value"), [("columns", (1,)), ("columns", ()), ("rows", 1), ("repeats", 0), ("tables", -1)]
)
def test_settings_out_of_range_are_refused_by_name(setting, value):
    with pytest.raises(ValueError, match=setting):
        LatentBench(**{setting: value})
