"""`intaglio causal transfer` from the command line to its report, and what it refuses."""

import pytest

import tiny
from intaglio.causal.transfer.result import TransferPredictions
from intaglio.cli import main
from intaglio.images.image_set import save_png
from transfer_scenes import planted


@pytest.fixture
def folder(tmp_path):
    rows, *_ = planted(12, 0)
    lines = ["id,place,said,u,v"]
    lines += [
        f"{name},{place},{said},{x[0]},{x[1]}"
        for name, place, said, x in zip(rows.names, rows.environments, rows.outcomes, rows.features, strict=True)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    return tmp_path


def line(folder, *further, method="erm", target="far"):
    words = f"causal transfer {method} --table {folder}/rows.csv --environment place --outcome said --target {target}"
    return [*f"{words} --updates 3 --refit-updates 2 --quiet --runs {folder}/runs".split(), *further]


def test_covariates_are_enough_and_the_page_says_how_often_each_stage_is_right(folder, capsys):
    words = line(folder, "--covariates", "u", "v", "--labelled", "3", "--draws", "2", method="gcrl")
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob("causal-transfer-gcrl-*")
    found = TransferPredictions.load(run)
    assert found.statement in said
    assert list(found.stages) == ["zero-shot", "refitted", "labelled"]
    page = (run / "report.html").read_text()
    assert "Agreement on Z" in page
    assert "from the others" in page
    assert (run / "transfer.csv").read_text().startswith("row,predicted,probability,zero-shot,refitted,labelled,")
    assert not list((run / "states").iterdir())
    assert main(words) == 0  # the second time it is found


def test_where_all_outcomes_are_learnt_the_plan_the_words_and_the_page_say_that_none_judges(folder, capsys):
    words = line(folder, "--covariates", "u", "v", "--labelled", "12", "--no-checks")
    assert main([*words, "--dry-run"]) == 0
    assert "12 of the target are learnt, and 0 judge the predictions" in capsys.readouterr().out
    assert main(words) == 0
    assert "all 12 outcomes of it that are known were learnt from" in capsys.readouterr().out
    (run,) = (folder / "runs").glob("causal-transfer-erm-*")
    page = (run / "report.html").read_text()
    assert "no outcome is left to judge by, and no environment was held out" in page
    assert "Labelled, it has learnt 12 outcomes of the target." in page


def test_pictures_are_found_by_the_rows_names(folder, capsys):
    names = planted(12, 0)[0].names
    for name, pixels in zip(names, tiny.pixels(48, seed=1), strict=True):
        save_png(pixels[..., :16, :16], folder / "pictures" / f"{name}.png")
    assert main(line(folder, "--images", f"{folder}/pictures", "--unit", "id", "--no-checks")) == 0
    (run,) = (folder / "runs").glob("causal-transfer-erm-*")
    assert TransferPredictions.load(run).names == names[36:]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "there is nothing to predict from; give --covariates, --images or --features"),
        (("--covariates", "height"), "has no column 'height'"),
        (("--covariates", "u", "--similarity", "x"), "--network and --similarity look at pictures"),
        (("--covariates", "said"), "column said is what is predicted or held out"),
        (("--covariates", "u", "--labelled", "40"), "40 labelled rows of the target are asked for, and 12"),
        (("--covariates", "u", "--updates", "0"), "updates must be at least 1"),
    ],
)
def test_bad_input_is_told(folder, capsys, given, words):
    assert main(line(folder, *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_features_are_asked_by_names(folder, capsys):
    assert main(line(folder, "--features", f"{folder}/rows.csv")) == 2
    assert "found by the rows' names; give their column as --unit" in " ".join(capsys.readouterr().err.split())


def test_a_target_that_there_is_not_is_told(folder, capsys):
    assert main(line(folder, "--covariates", "u", target="near")) == 2
    assert "no row is of the environment near; there are: a, b, c, far" in " ".join(capsys.readouterr().err.split())
