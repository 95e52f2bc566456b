"""`intaglio explain directions` from the command line to its report, and what it refuses."""

import json
import re
from typing import cast

import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.explain.directions.result import LedPictures
from intaglio.sampling.site_edit import SiteEdit, ValueShifts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("directions")
    tiny.sd_folder(root / "base")
    return root


def line(folder, method="h-space", *further):
    words = f"explain directions {method} --model {folder}/base --quiet --steps 2 --pictures 2 --strengths -1 2"
    own = {"h-space": "--samples 4 --count 1", "labelled": "--samples 4"}.get(method, "--count 1 --iterations 1")
    return [*words.split(), *own.split(), "--prompt", "<i>cat", "dog", "--runs", str(folder / "runs"), *further]


def test_directions_have_a_table_pictures_and_a_report_and_lead_other_pictures_too(folder, capsys):
    words = line(folder, "h-space", "--target", "noto", "--head", "artist")
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob("explain-directions-h-space-*")
    found = LedPictures.load(run)
    assert found is not None
    assert found.statement in said
    assert (found.strengths, found.target, found.names) == ((-1.0, 0.0, 2.0), "artist:noto", ("direction 1", "random"))
    page = (run / "report.html").read_text()
    assert "&lt;i&gt;cat" in page
    assert "<i>cat" not in page
    assert page.count("data:image/png") == 2 * 2 * 3
    assert not list((run / "states").glob("*"))
    assert main(words) == 0  # the second time it is found
    capsys.readouterr()
    assert main(line(folder, "h-space", "--found", str(run), "--seed", "3")) == 0
    (other,) = set((folder / "runs").glob("explain-directions-h-space-*")) - {run}
    again = LedPictures.load(other)
    assert again is not None
    assert again.seeds != found.seeds
    assert (again.directions.shifts == found.directions.shifts).all()
    assert json.loads((other / "run.json").read_text())["inputs"]["found"]["sha256"]
    edit = SiteEdit.load(run / "edit-1.safetensors")
    assert edit is not None
    assert torch.equal(cast(ValueShifts, edit.change).shifts, found.directions.shifts[0])
    capsys.readouterr()
    assert main(line(folder, "jacobian", "--found", str(run))) == 2
    assert "has directions by h-space, not jacobian" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("method", "given", "words"),
    [
        ("labelled", (), "name one by --target, or give --words"),
        ("h-space", ("--target", "bird"), "--target bird is no class of the head kind"),
        ("h-space", ("--site", "mid"), "no module 'mid'"),
        ("h-space", ("--site", "mid_block.resnets.0.nonlinearity"), "is called 6 times in 2 steps"),
        ("h-space", ("--strengths", "0"), "strengths must be finite numbers"),
        ("h-space", ("--found", "gone"), "gone does not exist; check the path of --found"),
        ("h-space", ("--samples", "4", "--count", "3"), "count must be 1 to a quarter of the samples, 1, not 3"),
    ],
)
def test_bad_input_is_told(folder, capsys, method, given, words):
    assert main(line(folder, method, *given)) == 2
    assert re.sub(r"\s+", " ", words) in " ".join(capsys.readouterr().err.split())
