"""`intaglio explain selectors` from the command line to its page and its networks, and what it refuses."""

import csv

import pytest
import torch

import feature_scenes
from intaglio.cli import main
from intaglio.explain.selectors.result import SelectedPixels
from intaglio.images.image_set import save_png
from intaglio.models.image_classification import load_scored
from intaglio.models.picture_selectors import load_selector


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("selectors")
    images, columns = feature_scenes.labelled()
    rows = [("picture", "<i>light", "twin")]
    for k, (name, pixels) in enumerate(zip(images.names, images.pixels, strict=True)):
        save_png(pixels, root / "pictures" / name)
        rows.append((name, columns["light"][k], "first" if k in (1, 2) else ""))
    with (root / "l.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


def line(folder, method, *further):
    words = f"explain selectors {method} --images {folder}/pictures --labels {folder}/l.csv --resolution 16"
    few = "--epochs 1 --rows 6 --widths 4 --quiet"
    return [*words.split(), *few.split(), "--runs", str(folder / "runs"), *further]


@pytest.mark.parametrize("method", ["comet", "grad-cam-mask"])
def test_masks_are_shown_on_a_page_and_networks_are_read_again(folder, capsys, method):
    words = line(folder, method, "--column", "<i>light", "--group", "twin")
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob(f"explain-selectors-{method}-*")
    found = SelectedPixels.load(run)
    assert found.statement in said
    assert len({"01.png", "02.png"} & set(found.names)) in (0, 2)  # twins are not on both sides
    page = (run / "report.html").read_text()
    assert "<i>light" not in page
    assert "full red is shown to the predictor" in page
    assert page.count('<img class="pic') == len(found.names) == len(list((run / "images").glob("*.png")))
    assert not list((run / "states").glob("*"))
    for name in ("predictor", "plain"):
        scored = load_scored(run / f"{name}.safetensors", side=16)
        assert (scored.classes, scored.head) == (("bright", "dark"), "label")
    assert (run / "selector.safetensors").exists() == (method == "comet")
    if method == "comet":
        masks = load_selector(run / "selector.safetensors")(torch.rand(2, 3, 16, 16))
        assert masks.shape == (2, 16, 16)
    assert main(words) == 0  # the second time it is found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "has 2 columns of labels (<i>light, twin); name one by --column"),
        (("--column", "twin"), "no column (twin) has two labels of 5 pictures or more"),
        (("--column", "<i>light", "--folds", "8"), "has two labels of 8 pictures or more"),
        (("--column", "<i>light", "--resolution", "8"), "resolution must be 16 or more"),
    ],
)
def test_bad_input_is_told(folder, capsys, given, words):
    assert main(line(folder, "comet", *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
