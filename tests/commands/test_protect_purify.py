"""`intaglio protect purify`: pictures cleaned in their own size, with a table, copies and a report."""

import json

import numpy as np
import pytest
from PIL import Image

import tiny
from intaglio.cli import main
from protect_scenes import originals


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    originals(tmp_path / "mine", ((20, 31), (16, 16)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pictures_are_cleaned_in_their_size_and_copied(work, capsys):
    assert main(["protect", "purify", "jpeg", "--quality", "40", "--images", "mine", "--out", "clean"]) == 0
    shown = capsys.readouterr().out
    assert "2 pictures are saved as JPEG of quality 40" in shown
    with Image.open(work / "clean" / "0.png") as image, Image.open(work / "mine" / "0.png") as own:
        assert image.size == own.size == (31, 20)
        apart = np.abs(np.asarray(image, int) - np.asarray(own, int))
    (folder,) = (work / "runs").iterdir()
    rows = json.loads((folder / "purified.json").read_text())["pictures"]
    assert [row["name"] for row in rows] == ["0.png", "1.png"]
    assert rows[0]["largest_difference"] == apart.max()
    assert "What each lost" in (folder / "report.html").read_text()
    with Image.open(work / "clean" / "1.png") as image:
        assert image.mode == "RGBA"


def test_a_grey_picture_stays_grey_where_a_network_makes_three_channels(work):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24), np.uint8)).save(work / "grey.png")
    assert main(["protect", "purify", "ddsp", "--images", "grey.png", "--out", "clean"]) == 0
    with Image.open(work / "clean" / "grey.png") as image:
        assert image.mode == "L"
        assert np.asarray(image).std() > 1


def test_a_model_cleans_pictures_of_other_sizes_than_its_own(work, capsys):
    base = tiny.sd_folder(work / "base")
    assert main(f"protect purify diffuse --model {base} --steps 2 --images mine --json".split()) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]["pictures"] == 2


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("protect purify jpeg --images mine --model emoji64", "jpeg takes no model, so --model would have no effect"),
        ("protect purify blur --images mine --out mine/x", "lies in --images"),
        ("protect purify blur --images nowhere", "nowhere does not exist"),
    ],
)
def test_wrong_lines_are_told_in_a_sentence(line, sentence, work, capsys):
    assert main(line.split()) == 2
    assert sentence in capsys.readouterr().err
