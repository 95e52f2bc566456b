"""`intaglio explain bias` from the command line to its report, and what it refuses."""

import json
import re

import pytest

import tiny
from intaglio.cli import main
from intaglio.explain.bias.result import EvenedValues
from intaglio.sampling.site_edit import SiteEdit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("bias")
    tiny.sd_folder(root / "base")
    return root


def line(folder, method="steering", *further):
    words = f"explain bias {method} --model {folder}/base --quiet --steps 1 --pictures 2 --samples 4 --head artist"
    return [*words.split(), "--prompt", "<i>cat", "dog", "--runs", str(folder / "runs"), *further]


def test_values_are_evened_out_with_a_table_pictures_and_a_report_and_the_edit_is_kept(folder, capsys):
    given = ("--values", "noto", "fluent", "--words", " a", " b", "--subjects", "kind:Objects", "kind:Flags", "--json")
    words = line(folder, "steering", *given)
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    (run,) = (folder / "runs").glob("explain-bias-steering-*")
    found, edit = EvenedValues.load(run), SiteEdit.load(run)
    assert found is not None
    assert edit is not None
    assert said["summary"] == json.loads(json.dumps(found.figures()))
    assert (edit.values, edit.site) == (("noto", "fluent"), "mid_block")
    assert found.counts == (2, 2)
    assert set(found.right.flatten().tolist()) <= {0.0, 1.0}
    page = (run / "report.html").read_text()
    assert "&lt;i&gt;cat" in page
    assert "<i>cat" not in page
    assert page.count("data:image/png") == 2 * 3
    assert not list((run / "states").glob("*"))
    assert main(words) == 0  # the second time it is found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--values", "noto"), "values must be two different classes or more"),
        (("--values", "noto", "bird"), "--values bird is no class of the head artist"),
        (("--subjects", "kind:Bird"), "--subjects Bird is no class of the head kind"),
        (("--subjects", "kind:Flags", "kind:Flags", "kind:Flags"), "3 --subjects and 2 prompts"),
        (("--site", "mid"), "no module 'mid'"),
        (("--words", " a", " b"), "there are 2 --words and 4 values"),
        (("--network", "gone"), "gone does not exist; check the path of --network"),
    ],
)
def test_bad_input_is_told(folder, capsys, given, words):
    assert main(line(folder, "steering", *given)) == 2
    assert words in re.sub(r"\s+", " ", capsys.readouterr().err)
