"""`intaglio protect` from the command line: the same folder back, resumed, reported; bad input in a sentence."""

import json

import numpy as np
import pytest
from PIL import Image

import tiny
from intaglio import cli
from intaglio.protect import protection
from intaglio.protect.originals import Original
from protect_scenes import originals


@pytest.fixture
def command(tmp_path, capsys):
    tiny.sd_folder(tmp_path / "base")
    (tmp_path / "mine").mkdir()
    originals(tmp_path / "mine")

    def run(method, *words):
        places = [
            "--model",
            str(tmp_path / "base"),
            "--images",
            str(tmp_path / "mine"),
            "--runs",
            str(tmp_path / "runs"),
        ]
        code = cli.main(["protect", method, *places, "--steps", "2", "--batch", "1", "--quiet", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def only_run(tmp_path):
    (folder,) = (tmp_path / "runs").glob("protect-*")
    return folder


def read(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def test_a_dry_run_says_what_it_would_take_and_does_nothing(command, tmp_path):
    code, out, _ = command("anti-dreambooth", "--prompt", "cat", "--dry-run")
    assert code == 0
    assert "pictures   3 of 2 sizes" in out
    assert "for the surrogate to learn" in out
    assert not list((tmp_path / "runs").glob("*"))


def test_the_folder_of_a_single_picture_is_no_place_to_give_it_back(command, tmp_path):
    before = (tmp_path / "mine/0.png").read_bytes()
    code, _, err = command("photoguard", "--images", str(tmp_path / "mine/0.png"), "--out", str(tmp_path / "mine"))
    assert code == 2
    assert "lies in --images, whose pictures stay as they are" in " ".join(err.split())
    assert (tmp_path / "mine/0.png").read_bytes() == before


def test_a_place_that_cannot_be_written_and_a_target_folder_are_named_before_any_work(command, tmp_path, monkeypatch):
    monkeypatch.setattr(protection, "protect", lambda *_, **__: pytest.fail("worked"))
    (tmp_path / "file").write_text("x")
    code, _, err = command("photoguard", "--out", str(tmp_path / "file"))
    assert code == 2
    assert "is a file; give a folder" in " ".join(err.split())
    code, _, err = command("photoguard", "--target", str(tmp_path / "mine"))
    assert code == 2
    assert "is a folder; name one picture" in " ".join(err.split())


def test_pictures_that_nothing_was_changed_in_are_named(command, tmp_path):
    code, out, _ = command("photoguard", "--budget", "0")
    assert code == 0
    assert "Nothing was changed in 0.png, 1.png, 2.png: nothing is protected there" in out
    page = (only_run(tmp_path) / "report.html").read_text()
    assert page.count("unchanged") >= 3
    assert "no change" in page


def test_the_folder_comes_back_within_the_budget(command, tmp_path):
    code, out, _ = command("photoguard", "--budget", "5", "--step", "5", "--out", str(tmp_path / "out"))
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "2.png"]
    for path in (tmp_path / "out").iterdir():
        difference = np.abs(read(path) - read(tmp_path / "mine" / path.name))
        assert 0 < difference.max() <= 5
    assert "does not make it impossible" in out
    folder = only_run(tmp_path)
    record = json.loads((folder / "run.json").read_text())
    assert record["summary"]["largest_difference"] == 5
    page = (folder / "report.html").read_text()
    assert "3 pictures given back, changed by 5 levels at most" in page
    assert page.count("the change, magnified") >= 3
    again, _, _ = command("photoguard", "--budget", "5", "--step", "5", "--out", str(tmp_path / "out"))
    assert again == 0
    assert only_run(tmp_path) == folder


def test_without_out_they_lie_in_the_run(command, tmp_path):
    assert command("photoguard")[0] == 0
    assert len(list((only_run(tmp_path) / "protected").iterdir())) == 3
    assert not list((only_run(tmp_path) / "states").glob("*"))


def test_pictures_that_are_gone_are_made_again(command, tmp_path):
    assert command("photoguard", "--out", str(tmp_path / "out"))[0] == 0
    first = (tmp_path / "out/1.png").read_bytes()
    for path in (tmp_path / "out/1.png", only_run(tmp_path) / "protected/1.png"):
        path.unlink()
    assert command("photoguard", "--out", str(tmp_path / "elsewhere"))[0] == 0
    assert (tmp_path / "elsewhere/1.png").read_bytes() == first


def test_a_killed_run_keeps_what_is_done_and_does_the_rest(command, tmp_path, monkeypatch):
    saved, original = [], Original.save

    def killed(self, pixels, folder):
        if len(saved) == 1:
            raise KeyboardInterrupt
        saved.append(self.name)
        return original(self, pixels, folder)

    with monkeypatch.context() as patch:
        patch.setattr(Original, "save", killed)
        code, _, err = command("advdm", "--out", str(tmp_path / "out"))
    assert code == 130
    assert "goes on" in err
    home = only_run(tmp_path) / "protected"
    first = {path.name: path.read_bytes() for path in home.iterdir()}
    assert list(first) == saved
    assert command("advdm", "--out", str(tmp_path / "out"))[0] == 0
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert all((tmp_path / "out" / name).read_bytes() == content for name, content in first.items())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "mine/deep"], "lies in --images, whose pictures stay as they are"),
        (["--out", "mine"], "lies in --images"),
        (["--budget", "65"], "budget must lie in 0..64 grey levels"),
        (["--budget", "-1"], "budget must lie in 0..64 grey levels"),
        (["--masks", "masks"], "the mask of 0.png has another size"),
        (["--target", "masks/0.png"], "leads towards no target; leave --target out"),
    ],
)
def test_bad_input_is_named_before_any_work(command, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "masks").mkdir()
    Image.new("L", (3, 3), 255).save(tmp_path / "masks/0.png")
    code, _, err = command("advdm", *words)
    assert code == 2
    assert says in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "mine/deep").exists()


def test_a_folder_that_may_not_be_written_is_named(command, tmp_path):
    (tmp_path / "out").write_text("a file")
    code, _, err = command("photoguard", "--out", str(tmp_path / "out"))
    assert code in (1, 2)
    assert "out" in err
    assert "fault of intaglio" not in err


def test_what_giving_back_changes_is_said(command, tmp_path):
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "mine/photo.jpg")
    assert command("photoguard")[0] == 0
    warnings = json.loads((only_run(tmp_path) / "run.json").read_text())["warnings"]
    assert "photo.jpg is given back as PNG, since its own format loses some of every change" in warnings
