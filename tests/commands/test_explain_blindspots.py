"""`intaglio explain blindspots` from the command line to its report, with drawings or with given pictures."""

import json

import pytest
import torch

import tiny
from blindspot_scenes import drawn
from explain_scenes import classifier
from intaglio.cli import main
from intaglio.commands.explain_blindspots import labels_of
from intaglio.errors import BadInput
from intaglio.explain.blindspots.methods.channels import ChannelEnergies
from intaglio.explain.blindspots.result import BlindSpots
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.classifiers import save_classifier
from intaglio.models.diffusion.loading import load_model


@pytest.fixture
def folder(tmp_path):
    for k, (real, made) in enumerate(zip(drawn([0] * 8, 1), drawn([2] * 8, 2), strict=True)):
        name = "<i>0" if k == 0 else str(k)
        save_png(real, tmp_path / "real" / f"{name}.png")
        save_png(made, tmp_path / "made" / f"{name}.png")
    save_classifier(classifier(), tmp_path / "net.safetensors")
    return tmp_path


def line(folder, *further, method="channels"):
    words = f"explain blindspots {method} --images {folder}/real --network {folder}/net.safetensors --resolution 16"
    return [*words.split(), "--runs", str(folder / "runs"), "--quiet", *further]


def test_given_pictures_are_compared_and_shown(folder, capsys):
    table = folder / "labels.csv"
    table.write_text("picture,label\n<i>0.png,red\n1,red\n2,blue\n")
    words = line(folder, "--generated", str(folder / "made"), "--labels", str(table))
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob("explain-blindspots-channels-*")
    found = BlindSpots.load(run)
    assert found.statement in said
    assert {one.label for one in found.shifts} <= {"red", "blue", None}
    page = (run / "report.html").read_text()
    assert "&lt;i&gt;0.png" in page
    assert "<i>0.png" not in page
    assert "8 pairs of pictures are few" in page
    assert page.count("data:image/png") == 16 + sum(
        len(one.most_real) + len(one.most_generated) for one in found.shifts if one.verdict
    ), "eight nearest pairs, and those of the concepts"
    assert main(words) == 0  # the second time it is found


def test_pictures_are_drawn_for_captions_with_the_control_of_the_autoencoder(folder, capsys):
    base = tiny.sd_folder(folder / "base")
    drawing = ["--model", str(base), "--prompt", "x", "--steps", "2", "--guidance", "1"]
    small = ["--concepts", "4", "--active", "2", "--updates", "3", "--rows", "16"]
    assert main(line(folder, *drawing, *small, "--json", method="dictionary")) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["summary"]["pairs"] == 8
    (run,) = (folder / "runs").glob("explain-blindspots-dictionary-*")
    found = BlindSpots.load(run)
    assert set(found.sums) == {"real", "generated", "decoded"}
    assert all(one.control is not None for one in found.shifts)
    made = ImageSet.load(run / "images" / "generated", 16)
    assert len(made) == 8
    assert len({*made.hashes}) == 8, "each its own seed"
    assert not list((run / "states").iterdir())


def test_the_control_is_of_the_real_pictures(folder, monkeypatch):
    base = tiny.sd_folder(folder / "base")
    model, seen = load_model(base), []

    def noted(self, scored, pairs, *, run):
        seen.append(pairs)
        raise KeyboardInterrupt

    monkeypatch.setattr(ChannelEnergies, "__call__", noted)
    words = ["--model", str(base), "--generated", str(folder / "made")]
    assert main(line(folder, *words)) != 0
    (pairs,) = seen
    with torch.no_grad():
        whole = model.decode(model.encode(pairs.parts["real"]))
    torch.testing.assert_close(pairs.parts["decoded"], (whole * 255).round() / 255, rtol=0, atol=1.01 / 255)
    assert not torch.equal(pairs.parts["real"], pairs.parts["generated"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--generated", "{folder}/made/1.png"), "no picture of the same name in --generated"),
        (("--generated", "{folder}/made", "--guidance", "2"), "--guidance, --prompt and --steps are of drawings"),
        ((), "no caption; give --prompt"),
        (("--generated", "{folder}/made", "--labels", "{folder}/none.csv"), "none.csv does not exist"),
        (("--generated", "{folder}/made", "--layer", "stages.9"), "no layer 'stages.9' with maps"),
    ],
)
def test_bad_input_is_told(folder, capsys, given, words):
    assert main(line(folder, *(one.format(folder=folder) for one in given))) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_pictures_of_one_name_are_refused(folder, capsys):
    (folder / "real" / "1.jpg").write_bytes((folder / "real" / "1.png").read_bytes())
    assert main(line(folder, "--prompt", "x")) == 2
    assert "1.jpg and 1.png differ in their suffix alone" in capsys.readouterr().err


def test_labels_want_a_column_of_that_name(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(" picture , kind\na.png, red\n")
    with pytest.raises(BadInput, match="has no column 'label' beside picture; it has: kind"):
        labels_of(path, ["a.png"])
    path.write_text(" picture , label\na.png, red\n")
    assert labels_of(path, ["a.png", "b.png"]) == ["red", None]


def test_pictures_are_brought_to_the_side_of_the_network(folder):
    from intaglio.explain.blindspots.family import _sized

    given = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(_sized(given, 16).mean(), given.mean(), rtol=0.02, atol=0)
    assert _sized(given, 64) is given
