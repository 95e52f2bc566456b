"""`intaglio protect certify` from the command line to its report, and what it refuses."""

import pytest

from certify_scenes import classifier, pictures
from intaglio.cli import main
from intaglio.images.image_set import save_png
from intaglio.models.classifiers import save_classifier
from intaglio.protect.certify.result import CertifiedPictures


@pytest.fixture
def folder(tmp_path):
    for name, pixels in zip(("<i>a", "b"), pictures(2).pixels, strict=True):
        save_png(pixels, tmp_path / "pictures" / f"{name}.png")
    save_classifier(classifier(), tmp_path / "net.safetensors")
    return tmp_path


def line(folder, *further):
    words = f"protect certify smoothing --images {folder}/pictures --classifier {folder}/net.safetensors --quiet"
    return [*words.split(), "--runs", str(folder / "runs"), "--votes", "50", "--first", "10", *further]


def test_every_picture_has_a_class_or_none_and_the_report_says_so(folder, capsys):
    words = line(folder, "--head", "artist", "--sigma", "0.01", "--resolution", "16")
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob("protect-certify-smoothing-*")
    found = CertifiedPictures.load(run)
    assert (found.head, found.classes, found.votes) == ("artist", ("one", "two"), 50)
    assert found.figures()["certified"] == 2
    assert found.statement in said
    page = (run / "report.html").read_text()
    assert "&lt;i&gt;a.png" in page
    assert "<i>a.png" not in page
    assert main(words) == 0  # the second time it is found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--head", "colour"), "no --head colour; choose one of: kind, artist"),
        (("--classifier", "nowhere"), "nowhere does not exist; check the path of --classifier"),
        (("--resolution", "4"), "resolution must be 16 or more"),
        (("--sigma", "0"), "sigma must be above 0"),
    ],
)
def test_bad_input_is_told(folder, capsys, given, words):
    assert main(line(folder, *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (folder / "runs").exists()


def test_rrcm_asks_the_embedded_one_that_takes_levels_and_refuses_one_that_takes_none(folder, capsys):
    words = ["rrcm" if word == "smoothing" else word for word in line(folder, "--first", "2", "--votes", "5")]
    assert main(words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "this one takes none; give one that was trained with noise levels, or take the method smoothing" in said
    assert not (folder / "runs").exists()
    place = words.index("--classifier")
    assert main([*words[:place], *words[place + 2 :]]) == 0
    (run,) = (folder / "runs").glob("protect-certify-rrcm-*")
    assert len(CertifiedPictures.load(run).classes) == 9
