"""`intaglio audit attribution` from the command line to its report, and again with what was fitted."""

import json

import pytest

import tiny
from attribution_scenes import coloured
from intaglio.cli import main
from intaglio.images.image_set import save_png


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, images in {"a": coloured(0, 12), "b": coloured(2, 12), "asked": coloured(2, 3, seed=1)}.items():
        for picture, pixels in zip(images.names, images.pixels, strict=True):
            save_png(pixels, tmp_path / name / f"{picture}.png")
    return tmp_path


LINE = "audit attribution spectrum --source plain=a soft=b --images asked --rings 16 --fpr 0.45"


def stored(folder):
    return json.loads((folder / "attribution.json").read_text())


def test_pictures_are_attributed_reported_and_attributed_again_by_the_fit(folders, capsys):
    assert main(LINE.split()) == 0
    assert "3 pictures attributed to one source" in capsys.readouterr().out
    (folder,) = (folders / "runs").iterdir()
    assert "plain" in (folder / "report.html").read_text()
    assert not list(folder.glob("states/*"))
    again = [
        "audit",
        "attribution",
        "spectrum",
        "--fitted",
        str(folder / "attributor"),
        "--images",
        "asked",
        "--fpr",
        "0.45",
    ]
    assert main([*again, "--runs", "second"]) == 0
    (second,) = (folders / "second").iterdir()
    assert stored(second) == stored(folder)


def test_a_method_that_asks_models_is_given_them_by_the_names_of_sources(folders, capsys):
    tiny.sd_folder(folders / "net")
    line = LINE.replace("spectrum", "reconstruction").replace("--rings 16", "--timesteps 1").split()
    assert main([*line, "--model", "plain=net"]) == 0
    (folder,) = (folders / "runs").iterdir()
    assert json.loads((folder / "run.json").read_text())["inputs"]["model plain"]["path"] == "net"
    assert "undecided" in (folder / "report.html").read_text()
    again = ["audit", "attribution", "reconstruction", "--fitted", str(folder / "attributor"), "--images", "asked"]
    tiny.sd_folder(folders / "other", seed=1)
    capsys.readouterr()
    refused = {
        (*line,): "reconstruction asks the sources' models; give one or more with --model NAME=MODEL",
        (*line, "--model", "x=net"): "no source called x, whose model is given; call it as one of: plain, soft",
        (*line, "--model", "net"): "--model takes NAME=MODEL",
        (*line, "--model", "plain=net", "plain=net"): "two models are called plain",
        (*again, "--model", "plain=other"): "the model of plain is none that the sources were fitted with",
        (*LINE.split(), "--model", "plain=net"): "spectrum looks at pictures alone",
    }
    for words, said in refused.items():
        assert main(list(words)) == 2
        assert said in capsys.readouterr().err


def test_formats_and_sizes_that_give_a_source_away_are_told(folders, capsys):
    from PIL import Image

    for path in sorted((folders / "a").iterdir()):
        Image.open(path).resize((40, 40)).save(path.with_suffix(".jpg"))
        path.unlink()
    assert main(LINE.split()) == 0
    said = capsys.readouterr().err
    assert "pictures of plain are stored with losses and others are not" in said
    assert "pictures of plain were resized to 32 pixels" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--source a", "--source takes NAME=FOLDER"),
        ("--source one=a", "give 2 to 50 with --source NAME=FOLDER, or what was fitted"),
        ("--source one=a one=b", "two sources are called one"),
        ("--source one=a two=nowhere", "nowhere does not exist"),
        ("--source ../x=a two=b", "--source takes NAME=FOLDER"),
        ("--fitted a --source one=a two=b", "--source would have no effect"),
        ("--fitted a", "a holds no attributor.safetensors"),
        ("--source one=a two=a", "are the same picture"),
    ],
)
def test_words_that_name_no_sources_are_refused(folders, capsys, words, said):
    assert main(["audit", "attribution", "spectrum", "--images", "asked", *words.split()]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
