"""`intaglio explain features` from the command line to its page, and what it refuses."""

import csv

import pytest
from safetensors.torch import load_file

import feature_scenes
import tiny
from explain_scenes import classifier
from intaglio.cli import main
from intaglio.explain.features.result import FeatureProbes
from intaglio.images.image_set import save_png
from intaglio.models.classifiers import save_classifier

FEW = "--folds 3 --strengths 0.1 --shuffles 1 --resolution 16 --quiet"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    images, columns = feature_scenes.labelled()
    rows = [("picture", "<i>light", "twin")]
    for k, (name, pixels) in enumerate(zip(images.names, images.pixels, strict=True)):
        save_png(pixels, root / "pictures" / name)
        rows.append((name, columns["light"][k], "first" if k < 2 else ""))
    with (root / "l.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    tiny.sd_folder(root / "base")
    save_classifier(classifier(), root / "net.safetensors")
    return root


def line(folder, *further, method="denoiser"):
    words = f"explain features {method} --images {folder}/pictures --labels {folder}/l.csv {FEW}"
    return [*words.split(), "--runs", str(folder / "runs"), *further]


def test_labels_are_read_in_each_cell_and_told_on_a_page(folder, capsys):
    own = f"--model={folder}/base --timesteps 20 300 --noises 1 --sites mid_block up_blocks.0 --keep-features"
    words = line(folder, *own.split(), "--columns", "<i>light", "--group", "twin")
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob("explain-features-denoiser-*")
    found = FeatureProbes.load(run)
    assert found.statement in said
    (light,) = found.labels
    assert [cell.name for cell in light.cells] == [
        f"{site} at t = {t}" for site in ("mid_block", "up_blocks.0") for t in (20, 300)
    ]
    twins = [light.folds[light.names.index(name)] for name in ("00.png", "01.png")]
    assert twins[0] == twins[1]
    kept = load_file(run / "features.safetensors")
    assert {name: tuple(rows.shape) for name, rows in kept.items()} == {
        cell.name: (feature_scenes.COUNT, numbers) for cell, numbers in zip(light.cells, light.numbers, strict=True)
    }
    page = (run / "report.html").read_text()
    assert "<i>light" not in page
    assert page.count('class="first"') == 1
    assert not list((run / "states").glob("*"))
    assert main(words) == 0  # the second time it is found


@pytest.mark.parametrize(
    ("method", "given", "words"),
    [
        ("pixels", ("--group", "kin"), "no column kin for --group; it has: <i>light, twin"),
        ("pixels", ("--columns", "twin"), "no column (twin) has two labels of 5 pictures or more"),
        ("pixels", ("--columns", "twin", "--group", "twin"), "no labels beside --group"),
        ("pixels", ("--model={0}/base",), "pixels reads no text-to-image model"),
        ("latents", ("--network={0}/net.safetensors",), "latents reads no encoder or classifier"),
        ("network", ("--layers", "stages.9", "--network={0}/net.safetensors"), "no layer 'stages.9' with maps"),
        ("network", ("--similarity", "ssim"), "ssim has no descriptors"),
        ("network", ("--network={0}/none.safetensors",), "check the path of --network"),
    ],
)
def test_bad_input_is_told(folder, capsys, method, given, words):
    assert main(line(folder, *(one.format(folder) for one in given), method=method)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
