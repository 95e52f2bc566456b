"""`intaglio audit inference` from the command line to its report, and again with what was fitted."""

import json

import pytest
import torch

from inference_scenes import HEAD, pictures, service
from intaglio.audit.inference.service_student import probabilities
from intaglio.cli import main
from intaglio.images.image_set import save_png
from intaglio.models.classifiers import load_classifier, save_classifier

LINE = (
    "audit inference js-divergence --images asked --answers a.csv --known known --classifier net.safetensors "
    "--resolution 16 --fpr 0.2 --steps 2 --block-steps 1 --views 2 --rows 4 --agreement 0.3 --quiet"
)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Four pictures, of which the last has the least probable class for an answer."""
    monkeypatch.chdir(tmp_path)
    save_classifier(service(), tmp_path / "net.safetensors")
    net, asked = load_classifier(tmp_path / "net.safetensors"), pictures(4, seed=4)
    for name, images in {"known": pictures(24), "asked": asked}.items():
        for picture, pixels in zip(images.names, images.pixels, strict=True):
            save_png(pixels, tmp_path / name / f"{picture}.png")
    answers = probabilities(net, HEAD, asked.pixels, 4)
    answers[3] = torch.eye(3)[answers[3].argmin()]
    rows = [[f"{name}.png", *(f"{one:.6f}" for one in row)] for name, row in zip(asked.names, answers, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(",".join(row) for row in [["picture", *net.classes[HEAD]], *rows]))
    return tmp_path


def stored(folder):
    return json.loads((folder / "checked_answers.json").read_text())


def test_answers_are_checked_reported_and_checked_again_by_the_fit(folders, capsys):
    assert main(LINE.split()) == 0
    said = capsys.readouterr().out
    (folder,) = (folders / "runs").iterdir()
    assert "do not look like the classifier's own" in said or "does not look like the classifier's own" in said
    assert stored(folder)["answers"][3]["p"] <= 0.2
    page = (folder / "report.html").read_text()
    assert "not the classifier" in page
    assert "0003.png" in page
    assert not list(folder.glob("states/*"))
    again = f"audit inference js-divergence --images asked --answers a.csv --fitted {folder}/check --fpr 0.2 --quiet"
    assert main([*again.split(), "--runs", "second"]) == 0
    (second,) = (folders / "second").iterdir()
    assert stored(second) == stored(folder)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--known known --head colour", "the classifier has no --head colour; choose one of: kind, artist"),
        ("", "give other pictures of the same kind with --known, or what was fitted with --fitted"),
        ("--known known --classifier nowhere", "nowhere does not exist"),
        ("--known known --head artist", "a.csv has no column"),
        ("--fitted known --known known", "--known would have no effect"),
        ("--known known --fpr 1", "fpr must lie between 0 and 1"),
        ("--known known --resolution 8", "resolution must be 16 or more"),
    ],
)
def test_bad_input_is_told(folders, capsys, words, said):
    net = [] if "--classifier" in words or "--fitted" in words else ["--classifier", "net.safetensors"]
    line = ["audit", "inference", "js-divergence", "--images", "asked", "--answers", "a.csv", *words.split(), *net]
    assert main(line) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (folders / "runs").exists()
