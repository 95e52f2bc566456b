"""`intaglio causal debias` from the command line to its report, and what it refuses."""

import numpy as np
import pytest

from debias_scenes import berkson
from intaglio.causal.debias.result import DebiasedEffects
from intaglio.cli import main


@pytest.fixture
def folder(tmp_path):
    rows = berkson(60)
    pairs = [f"{y},{p}" for y, p in zip(rows.truth, rows.predicted, strict=True)]
    (tmp_path / "known.csv").write_text("income,map\n" + "\n".join(pairs) + "\n")
    units = [f"{value},{k % 2},{'<i>x' if k < 20 else 'y'}" for k, value in enumerate(np.linspace(-1, 1, 40))]
    (tmp_path / "trials.csv").write_text("map,aid,where\n" + "\n".join(units) + "\n")
    return tmp_path


def line(folder, *further):
    words = f"causal debias lcc --table {folder}/trials.csv --calibration {folder}/known.csv --prediction map"
    rest = f"--outcome income --treatment aid --resamples 50 --quiet --runs {folder}/runs"
    return [*words.split(), *rest.split(), *further]


def test_effects_by_trial_and_a_report(folder, capsys):
    assert main(line(folder, "--trial", "where")) == 0
    (run,) = (folder / "runs").glob("causal-debias-lcc-*")
    found = DebiasedEffects.load(run)
    assert [one.trial for one in found.effects] == ["<i>x", "y"]
    assert found.effects[0].effect > found.effects[0].predicted > 0
    assert found.statement in capsys.readouterr().out
    page = (run / "report.html").read_text()
    assert "&lt;i&gt;x" in page
    assert "<i>x" not in page
    assert main(line(folder, "--trial", "where")) == 0  # the second time it is found
    assert len(list((folder / "runs").glob("causal-debias-*"))) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--outcome", "wealth"), "has no column 'wealth'; it has: income, map"),
        (("--table", "nowhere.csv"), "nowhere.csv does not exist; check the path of --table"),
        (("--resamples", "3"), "resamples must be at least 50, not 3"),
    ],
)
def test_bad_input_is_told(folder, capsys, given, words):
    assert main(line(folder, *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
