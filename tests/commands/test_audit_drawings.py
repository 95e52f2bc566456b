"""`intaglio audit drawings` on pictures that `intaglio sample` drew, one of them by another seed than it says."""

import json

import pytest

import tiny
from intaglio.cli import main
from intaglio.images.image_set import ImageSet, read_png_text, save_png

SAMPLE = "sample --model base --prompt x --count 3 --steps 2 --quiet --out drawn"
LINE = "audit drawings recompute --model base --quiet"


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.sd_folder(tmp_path / "base")
    assert main(SAMPLE.split()) == 0
    return tmp_path


def test_a_picture_of_another_seed_is_found_and_the_others_are_the_same(drawn, capsys):
    first, second, _ = sorted((drawn / "drawn").glob("*.png"))
    save_png(ImageSet.load(second, 16).pixels[0], first, read_png_text(first))
    assert main([*LINE.split(), "--images", "drawn", "--tolerance", "0"]) == 0
    said = capsys.readouterr().out
    assert "3 were drawn again; 1 of them is another picture than the one drawn now" in said
    (folder,) = (drawn / "runs").iterdir()
    stored = json.loads((folder / "checked_drawings.json").read_text())
    assert [one["distance"] > 0 for one in stored["drawings"]] == [True, False, False]
    assert first.name in (folder / "report.html").read_text()


def test_pictures_without_settings_or_of_another_way_are_refused(drawn, capsys):
    line = f"{LINE} --images other"
    save_png(tiny.pixels(1)[0], drawn / "other" / "a.png")
    assert main(line.split()) == 2
    assert "a.png carries no settings of intaglio" in " ".join(capsys.readouterr().err.split())
    (drawn / "other" / "a.png").unlink()
    assert main([*SAMPLE.replace("sample", "sample perp-neg").split()[:-1], "other", "--negative", "y"]) == 0
    assert main(line.split()) == 2
    assert "was not drawn by the method plain, in float32 and from unit noise" in capsys.readouterr().err


def test_files_are_not_left_out_by_themselves_and_copies_are_told(drawn, capsys):
    assert main([*LINE.split(), "--images", "drawn", "--skip-bad"]) == 2
    assert "may hide a fake; leave --skip-bad out" in " ".join(capsys.readouterr().err.split())
    first = min((drawn / "drawn").glob("*.png"))
    (drawn / "drawn" / "copy.png").write_bytes(first.read_bytes())
    assert main([*LINE.replace(" --quiet", "").split(), "--images", "drawn"]) == 0
    told = capsys.readouterr()
    assert "1 of the pictures is a copy of another" in " ".join((told.out + told.err).split())
    assert "4 were drawn again; all of them are what the model draws now. All were checked." in told.out
