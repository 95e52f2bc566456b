"""`intaglio explain` from the command line to its report, and what it refuses."""

import numpy as np
import pytest
import torch
from torch import nn

from explain_scenes import classifier, pictures
from intaglio.cli import main
from intaglio.explain.heat_maps import coloured, overlaid, scale_of
from intaglio.explain.result import Attributions
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.classifiers import save_classifier


@pytest.fixture
def folder(tmp_path):
    for name, pixels in zip(("<i>a", "b"), pictures(2).pixels, strict=True):
        save_png(pixels, tmp_path / "pictures" / f"{name}.png")
    save_classifier(classifier(), tmp_path / "net.safetensors")
    return tmp_path


def line(folder, method, *further):
    words = f"explain {method} --images {folder}/pictures --network {folder}/net.safetensors --quiet --resolution 16"
    return [*words.split(), "--runs", str(folder / "runs"), *further]


def test_every_picture_has_a_map_that_is_tested_and_the_report_shows_it(folder, capsys):
    words = line(folder, "occlusion", "--head", "artist")
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob("explain-occlusion-*")
    found = Attributions.load(run)
    assert (found.head, found.classes, len(found.pictures)) == ("artist", ("one", "two"), 2)
    assert all(one.target == one.called for one in found.pictures)
    assert found.statement in said
    page = (run / "report.html").read_text()
    assert "&lt;i&gt;a.png" in page
    assert "<i>a.png" not in page
    assert page.count("data:image/png") == 6
    assert not list(run.glob("state/*"))
    assert main(words) == 0  # the second time it is found


def test_files_lie_beside_their_own_picture(folder):
    assert main(line(folder, "occlusion", "--target", "food")) == 0
    (run,) = (folder / "runs").glob("explain-occlusion-*")
    found, images = Attributions.load(run), ImageSet.load(folder / "pictures", 16)
    for place, (name, pixels) in enumerate(zip(images.names, images.pixels, strict=True)):
        assert found.pictures[place].name == name
        stored = ImageSet.load(run / "images" / f"{place:04d}-picture.png", 16).pixels[0]
        torch.testing.assert_close(stored, pixels)
        stored = ImageSet.load(run / "images" / f"{place:04d}-map.png", 16).pixels[0]
        torch.testing.assert_close(stored, coloured(found.maps[place]), atol=3e-3, rtol=0)
    page = " ".join((run / "report.html").read_text().split())
    for one in found.pictures:
        assert (f"The classifier calls it {found.classes[one.called]}." in page) == (one.called != one.target)


def test_the_class_that_is_named_is_explained(folder, capsys):
    assert main(line(folder, "grad-cam", "--target", "food")) == 0
    (run,) = (folder / "runs").glob("explain-grad-cam-*")
    found = Attributions.load(run)
    assert [found.classes[one.target] for one in found.pictures] == ["food", "food"]
    assert found.head == "kind"


@pytest.mark.parametrize(
    ("method", "given", "words"),
    [
        ("rise", ("--head", "colour"), "no head 'colour'; choose one of: kind, artist"),
        ("rise", ("--network", "nowhere"), "nowhere does not exist; check the path of --network"),
        ("rise", ("--target", "bird"), "--target bird is no class of the head kind; some of them: animal, food, place"),
        ("rise", ("--resolution", "4"), "resolution must be 16 or more"),
        ("grad-cam", ("--layer", "stages.9"), "no layer 'stages.9' with maps; some that it has"),
        ("lima", ("--regions", "1"), "regions must be 2 to 256"),
    ],
)
def test_bad_input_is_told(folder, capsys, method, given, words):
    assert main(line(folder, method, *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (folder / "runs").exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_asked_from_outside_and_not_looked_into(folder, capsys):
    net = nn.Sequential(nn.Conv2d(3, 2, 4, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torch.jit.trace(net, torch.zeros(1, 3, 16, 16)).save(folder / "net.pt")
    script = ("--network", str(folder / "net.pt"))
    assert main(line(folder, "occlusion", *script)) == 0
    assert main(line(folder, "grad-cam", *script)) == 2
    assert "is TorchScript, whose layers cannot be looked into" in " ".join(capsys.readouterr().err.split())
    torch.jit.trace(net[:3], torch.zeros(1, 3, 16, 16)).save(folder / "net.pt")
    assert main(line(folder, "occlusion", *script)) == 2
    assert "gives (1, 2, 1, 1), where a row of logits a picture is due" in capsys.readouterr().err


def test_a_map_is_red_above_0_blue_below_and_white_at_0():
    map_ = torch.tensor([[2.0, -2.0], [0.0, 1.0]])
    assert scale_of(map_) == pytest.approx(2.0)
    red, blue, white, half = coloured(map_).flatten(1).T.numpy()
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    np.testing.assert_allclose(white, 1)
    np.testing.assert_allclose(half, (1 + red) / 2, atol=1e-6)
    assert float(coloured(torch.zeros(2, 2)).min()) == 1
    assert float(overlaid(torch.zeros(2, 2), torch.zeros(3, 2, 2))[0, 0, 0]) == pytest.approx(0.65)
