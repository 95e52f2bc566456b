"""`intaglio explain series` from the command line to its report, of a file and of drawings, and what it refuses."""

import numpy as np
import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.errors import BadInput
from intaglio.explain.series.drawn_trajectories import principal, read_prompt_labels
from intaglio.explain.series.result import ExplainedPoints
from intaglio.report.pages.series_page import bars
from series_scenes import small

QUICK = "--width 16 --updates 16 --learning-rate 0.01 --rows 16 --draws 1 --quiet"


def test_series_of_a_file_have_a_table_and_a_report(tmp_path, capsys):
    series = small()
    names = np.array([f"<i>{name}" for name in series.names])
    np.savez(tmp_path / "s.npz", series=series.values, labels=np.array(series.labels), names=names)
    words = f"explain series timex --mask-updates 2 --series {tmp_path}/s.npz {QUICK} --runs {tmp_path}/runs".split()
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (tmp_path / "runs").glob("explain-series-timex-*")
    found = ExplainedPoints.load(run)
    assert found.statement in said
    tensors, about = found._parts()
    with pytest.raises(ValueError, match="landmarks are not those of the series"):
        ExplainedPoints._of({**tensors, **{name: tensors[name][1:] for name in ("places", "cosines")}}, about)
    page = (run / "report.html").read_text()
    assert "<i>s" not in page
    assert "&lt;i&gt;s" in page
    places = [int(line.rsplit(",")[-1]) for line in (run / found.table).read_text().splitlines()[1:]]
    assert places == (found.landmarks.places + 1).tolist()
    assert f"series gather about {max(places)} landmarks: " in said
    assert f"nearest: &lt;i&gt;{found.names[found.landmarks.nearest(0)].removeprefix('<i>')}" in page
    assert main(words) == 0  # the second time it is found


def test_drawings_become_series(tmp_path, capsys):
    tiny.sd_folder(tmp_path / "model")
    lines = ["prompt,label", "a cat,x", "a dog,x", "a cup,y", "a key,y"]
    (tmp_path / "prompts.csv").write_text("\n".join(lines))
    words = f"explain series series-gradients --prompts {tmp_path}/prompts.csv --model {tmp_path}/model --each 5"
    further = f"--steps 4 --numbers 2 --guidance 1 {QUICK} --runs {tmp_path}/runs"
    assert main([*words.split(), *further.split()]) == 0
    (run,) = (tmp_path / "runs").glob("explain-series-series-gradients-*")
    found = ExplainedPoints.load(run)
    assert tuple(found.values.shape[1:]) == (4, 2)
    assert (len(found.names) + found.learnt, found.classes) == (20, ("x", "y"))
    assert not list(run.glob("states/walks*"))
    assert "called" in capsys.readouterr().out


def test_principal_directions_are_those_of_the_covariance():
    rows = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 1.0, 0.5, 0.1])
    found = principal(rows, 2).double().numpy()
    values, vectors = np.linalg.eigh(np.cov(rows.double().numpy().T))
    truth = (rows.double().numpy() - rows.double().numpy().mean(0)) @ vectors[:, ::-1][:, :2]
    assert np.abs(np.sum(found * truth, 0)) == pytest.approx(49 * values[::-1][:2], rel=1e-5)
    with pytest.raises(BadInput, match="4 numbers at most, not 5"):
        principal(rows, 5)


def test_bars_go_from_the_least_to_the_largest():
    assert bars(np.array([0.0, 1.0, 0.5])) == "▁█▅"  # no blank, which a page would drop
    assert bars(np.ones(3)) == "▁▁▁"
    assert len(bars(np.arange(1000))) == 60


@pytest.mark.parametrize(
    ("text", "words"), [("prompt\na\n", "no column label"), ("prompt,label\na,\n", "without a label")]
)
def test_prompts_without_labels_are_refused(tmp_path, text, words):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(BadInput, match=words):
        read_prompt_labels(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "give series: one of --series FILE and --prompts FILE"),
        (("--series", __file__, "--prompts", __file__), "give series: one of"),
        (("--series", __file__, "--model", "emoji64"), "leave them out with --series"),
        (("--series", "nowhere.csv"), "nowhere.csv does not exist"),
        (("--prompts", __file__, "--steps", "2"), "steps must be at least 3, not 2"),
    ],
)
def test_bad_input_is_told(tmp_path, capsys, given, words):
    assert main(["explain", "series", "timex", *given, "--runs", str(tmp_path)]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
