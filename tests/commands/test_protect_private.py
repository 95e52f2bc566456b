"""`intaglio protect private` on planted classes: the file that others read, the card, and what it refuses."""

import json
import shlex

import pytest
import torch

from intaglio.cli import main
from intaglio.images.image_set import save_png
from intaglio.models.classifiers import load_classifier, save_classifier
from private_scenes import classes, small_classifier

LINE = "protect private few-shot --noise-seed 3 --steps 4 --classifier {classifier} --resolution 16 --quiet"
SETS = "--train red={root}/red0 blue={root}/blue0"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("private")
    for seed in (0, 1):
        for name, images in classes(4, seed=seed).items():
            for picture, pixels in zip(images.names, images.pixels, strict=True):
                save_png(pixels, root / f"{name}{seed}" / f"{picture}.png")
    save_classifier(small_classifier(), root / "public.safetensors")
    return {"root": root, "classifier": root / "public.safetensors"}


def run(places, words):
    return main(shlex.split(f"{LINE} --runs {{root}}/runs {words}".format(**places)))


def test_a_classifier_with_its_card_is_left_and_no_secret(places, capsys):
    words = f"{SETS} --judge red={{root}}/red1 blue={{root}}/blue1 --head colour"
    assert run(places, words) == 0
    said = capsys.readouterr().out
    folder = next((places["root"] / "runs").iterdir())
    found = load_classifier(folder / "classifier.safetensors")
    assert found.classes == {"colour": ("red", "blue")}
    with torch.no_grad():
        assert found.logits(torch.rand(2, 3, 16, 16), "colour").shape == (2, 2)
    stored = json.loads((folder / "private.json").read_text())
    assert [(one["name"], one["pictures"]) for one in stored["judged"]] == [("red", 4), ("blue", 4)]
    assert "void" in (folder / "README.md").read_text()
    assert "Of 8 further pictures" in said
    assert not list(folder.glob("states/*"))
    assert "Outside the guarantee" in (folder / "report.html").read_text()
    assert run(places, words) == 0
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--train red={root}/red0", "give two or more with --train NAME=FOLDER"),
        (f"{SETS} --judge green={{root}}/red1", "--judge has green, which no --train teaches"),
        (f"{SETS} --judge red={{root}}/red0", "is among the pictures of --train"),
        ("--train red={root}/red0 blue={root}/red0", "4 of 8 pictures are there twice"),
        (f"{SETS} --delta 0.1", "a tenth of one picture in 8"),
        ("--train red={root}/red0 red={root}/blue0", "two classes are called red"),
        ("--train red={root}/red0 blue", "--train takes NAME=FOLDER"),
        (f"{SETS} --head 'my head'", "letters, digits and _"),
    ],
)
def test_what_no_promise_covers_is_told_in_a_sentence(places, words, told, capsys):
    before = {path.name for path in (places["root"] / "runs").glob("*")}
    assert run(places, words) == 2
    assert told in capsys.readouterr().err
    assert {path.name for path in (places["root"] / "runs").glob("*")} == before, "no failed run is left"
