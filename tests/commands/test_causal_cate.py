"""`intaglio causal cate` from the command line to its report, and what it refuses."""

import numpy as np
import pytest

import tiny
from cate_scenes import planted
from intaglio.causal.cate.result import UnitEffects
from intaglio.cli import main
from intaglio.images.image_set import save_png


@pytest.fixture
def folder(tmp_path):
    units, _ = planted(60, 0)
    lines = ["picture,outcome,treated,age"]
    lines += [
        f"{name},{y},{int(w)},{x}"
        for name, y, w, x in zip(units.names, units.outcome, units.treated, units.features[:, 0], strict=True)
    ]
    (tmp_path / "trial.csv").write_text("\n".join(lines))
    for name, pixels in zip(units.names, tiny.pixels(60, seed=1), strict=True):
        save_png(pixels[..., :16, :16], tmp_path / "pictures" / f"{name}.png")
    return tmp_path


def line(folder, *further, method="t-learner"):
    words = f"causal cate {method} --table {folder}/trial.csv --resamples 50 --quiet --runs {folder}/runs"
    return [*words.split(), *further]


def test_units_are_ranked_by_pictures_and_covariates(folder, capsys):
    words = line(folder, "--images", f"{folder}/pictures", "--covariates", "age", "--propensity", "0.4")
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob("causal-cate-t-learner-*")
    found = UnitEffects.load(run)
    assert found.statement in said
    assert said.splitlines()[1].split()[0] == "10%"
    page = (run / "report.html").read_text()
    assert page.count("data:image/") == 12
    assert found.rows()[0]["unit"] in page
    assert main(words) == 0  # the second time it is found


def test_covariates_alone_are_enough_and_their_order_is_that_of_the_table(folder):
    assert main(line(folder, "--covariates", "age", method="r-learner")) == 0
    (run,) = (folder / "runs").glob("causal-cate-r-learner-*")
    found = UnitEffects.load(run)
    ages = planted(60, 0)[0].features[:, 0]
    assert abs(np.corrcoef(found.effects, ages)[0, 1]) > 0.9


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "nothing tells units apart; give --images, --features or --covariates"),
        (("--covariates", "height"), "has no column 'height'"),
        (("--covariates", "age", "--propensity", "2"), "a propensity of 2 is no probability"),
        (("--covariates", "age", "--similarity", "x"), "--network and --similarity look at pictures"),
        (("--covariates", "age", "--folds", "1"), "folds must be at least 2"),
    ],
)
def test_bad_input_is_told(folder, capsys, given, words):
    assert main(line(folder, *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_unit_without_a_picture_is_named(folder, capsys):
    (folder / "pictures/u00007.png").unlink()
    assert main(line(folder, "--images", f"{folder}/pictures")) == 2
    assert "has no picture for the unit u00007; leave its row out" in " ".join(capsys.readouterr().err.split())
