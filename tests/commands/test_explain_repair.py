"""`intaglio explain repair` from the command line to its report and file, and what it refuses."""

import pytest

import explain_scenes
from intaglio.cli import main
from intaglio.explain.repairs.family import NETWORK
from intaglio.explain.repairs.result import RepairedClassifier
from intaglio.images.image_set import save_png
from intaglio.models.classifiers import save_classifier


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    save_classifier(explain_scenes.marked_chain().network, folder / "net.safetensors")
    images, truth, green = explain_scenes.marked_reds()
    for k, pixels in enumerate(images.pixels):
        save_png(pixels, folder / "pictures" / f"{k:02d}.png")
    lines = [f"{k:02d}.png,{a},{b},{a}" for k, (a, b) in enumerate(zip(truth, green, strict=True))]
    (folder / "l.csv").write_text("\n".join(["picture,kind,green,other", *lines]))
    return folder


def line(scene, *further, network="net.safetensors", shortcut="green"):
    words = f"explain repair cut-edges --network {scene / network} --images {scene / 'pictures'} --resolution 16"
    words += (
        f" --labels {scene / 'l.csv'} --shortcut {shortcut} --screened 9 --most 0.1 --quiet --runs {scene / 'runs'}"
    )
    return [*words.split(), *further]


def test_the_repaired_network_and_a_report(scene, capsys):
    assert main(line(scene)) == 0
    (run,) = (scene / "runs").glob("explain-repair-cut-edges-*")
    found = RepairedClassifier.load(run)
    said = capsys.readouterr().out
    assert found.statement in said
    assert found.worst == (0.0, 1.0)
    page = (run / "report.html").read_text()
    assert "green taken out of kind" in page
    assert "stages.1.0.0 1" in page
    # its file is one that other commands take, from which the shortcut is gone
    assert main(line(scene, network=run / NETWORK)) == 0
    assert "before in 1.00" in capsys.readouterr().out


def test_bad_input_is_told(scene, capsys):
    for words, further, told in (
        ("grün", (), "has no column grün for --shortcut; it has: kind, green, other"),
        ("kind", (), "the true classes and the shortcut are both in kind; name two columns"),
        ("other", (), "no class of the head kind has 10 pictures each of no and yes"),
        ("green", ("--group", "twins"), "has no column twins for --group"),
    ):
        assert main(line(scene, *further, shortcut=words)) == 2
        assert told in " ".join(capsys.readouterr().err.split())
