"""`intaglio explain heads` from the command line to its page, and what it refuses."""

import csv

import pytest

import feature_scenes
from explain_scenes import classifier
from intaglio.cli import main
from intaglio.explain.heads.result import HeadReadings
from intaglio.images.image_set import save_png
from intaglio.models.classifiers import save_classifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("heads")
    images, columns = feature_scenes.labelled()
    rows = [("picture", "<i>light", "twin")]
    for k, (name, pixels) in enumerate(zip(images.names, images.pixels, strict=True)):
        save_png(pixels, root / "pictures" / name)
        rows.append((name, columns["light"][k], "first" if k < 2 else ""))
    with (root / "l.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    save_classifier(classifier(), root / "net.safetensors")
    return root


def line(folder, method, *further):
    words = f"explain heads {method} --images {folder}/pictures --labels {folder}/l.csv"
    net = f"--network {folder}/net.safetensors --layer stages.0 --resolution 16"
    few = "--side 2 --folds 3 --strengths 0.1 --quiet"
    return [*words.split(), *net.split(), *few.split(), "--runs", str(folder / "runs"), *further]


def test_a_training_is_planned_with_strengths_to_choose_from_and_with_few_pictures_an_update(folder, capsys):
    words = [one for one in line(folder, "tuned-concepts") if one not in ("--strengths", "0.1")]
    assert main([*words, "--column", "<i>light", "--dry-run"]) == 0
    assert main([*words, "--column", "<i>light", "--dry-run", "--rows", "2", "--side", "1"]) == 0
    assert capsys.readouterr().out.count("time ") == 2


@pytest.mark.parametrize(
    ("method", "own", "shown"),
    [
        ("gated-places", ("--steps", "5"), "red is let through"),
        ("prototype-head", ("--steps", "5", "--each", "2"), "Prototypes, the pictures that are nearest"),
    ],
)
def test_a_head_is_judged_beside_the_linear_one_and_shown_on_a_page(folder, capsys, method, own, shown):
    words = line(folder, method, *own, "--column", "<i>light", "--group", "twin")
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob(f"explain-heads-{method}-*")
    found = HeadReadings.load(run)
    assert found.statement in said
    twins = [found.folds[found.names.index(name)] for name in ("00.png", "01.png")]
    assert twins[0] == twins[1]
    page = (run / "report.html").read_text()
    assert "<i>light" not in page
    assert shown in page
    pictures = len(found.head.gates) + sum(len(names) for _, names in found.head.pictures)
    assert len(list((run / "images").glob("*.png"))) == pictures > 0
    assert page.count('<img class="pic') == pictures
    assert not list((run / "states").glob("*"))
    assert main(words) == 0  # the second time it is found


def test_a_network_is_trained_into_a_file_that_network_reads(folder, capsys):
    own = ("--concepts", "8", "--epochs", "2", "--rows", "4", "--column", "<i>light")
    assert main(line(folder, "tuned-concepts", *own)) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob("explain-heads-tuned-concepts-*")
    found = HeadReadings.load(run)
    assert [name for name, _ in found.networks] == ["untouched", "trained without concepts", "trained through concepts"]
    assert all(name in said for name, _ in found.networks)
    assert f"--network {run / 'network.safetensors'}" in said
    page = (run / "report.html").read_text()
    assert "The network before and after" in page
    assert "trained without concepts" in page
    assert not list((run / "states").glob("*"))
    again = line(folder, "linear-head", "--column", "<i>light")
    again[again.index("--network") + 1] = str(run / "network.safetensors")
    assert main(again) == 0
    assert main(line(folder, "tuned-concepts", *own, "--dry-run", "--seed", "1")) == 0
    assert len(list((folder / "runs").glob("explain-heads-tuned-concepts-*"))) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "has 2 columns of labels (<i>light, twin); name one by --column"),
        (("--column", "kin"), "no column kin for --column; it has: <i>light, twin"),
        (("--column", "twin"), "no column (twin) has two labels of 5 pictures or more"),
        (("--column", "twin", "--group", "twin"), "--column and --group are both twin"),
        (("--column", "<i>light", "--similarity", "ssim"), "both give features"),
        (("--column", "<i>light", "--network={0}/none.safetensors"), "check the path of --network"),
    ],
)
def test_bad_input_is_told(folder, capsys, given, words):
    assert main(line(folder, "rule-tree", *(one.format(folder) for one in given))) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_an_encoder_is_not_trained(folder, capsys):
    words = f"explain heads tuned-concepts --images {folder}/pictures --labels {folder}/l.csv --column <i>light --quiet"
    assert main([*words.split(), "--runs", str(folder / "runs")]) == 2
    assert "it needs one that it can train: give --network" in " ".join(capsys.readouterr().err.split())
