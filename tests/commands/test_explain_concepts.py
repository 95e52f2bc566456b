"""`intaglio explain concepts` from the command line to its report, and what it refuses."""

import pytest

from explain_scenes import classifier, coloured
from intaglio.cli import main
from intaglio.explain.concepts.result import Concepts
from intaglio.images.image_set import save_png
from intaglio.models.classifiers import save_classifier


@pytest.fixture
def folder(tmp_path):
    for name, pixels in zip(("<i>a", "b", "c"), coloured(3).pixels, strict=True):
        save_png(pixels, tmp_path / "pictures" / f"{name}.png")
    save_classifier(classifier(), tmp_path / "net.safetensors")
    return tmp_path


def line(folder, *further):
    words = f"explain concepts craft --images {folder}/pictures --network {folder}/net.safetensors --quiet"
    small = "--resolution 16 --count 2 --points 4"
    return [*words.split(), *small.split(), "--runs", str(folder / "runs"), *further]


def test_concepts_have_crops_maps_and_a_report(folder, capsys):
    words = line(folder, "--target", "food", "--divided", "1", "--parts", "2")
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob("explain-concepts-craft-*")
    found = Concepts.load(run)
    assert (found.target, len(found.concepts)) == ("food", 2)
    assert found.statement in said
    page = (run / "report.html").read_text()
    assert "&lt;i&gt;a.png" in page
    assert "<i>a.png" not in page
    assert len(found.shown()) > len(found.concepts)  # one of them has parts
    assert page.count("data:image/png") == sum(len(one.examples) + len(one.maps) for _, one in found.shown())
    (wide,) = (number for number, one in enumerate(found.concepts) if one.parts)
    share = found.concepts[wide].parts[0].share
    assert f"Concept {wide}a, {share:.0%} of the crops with most of concept {wide}" in page
    assert f"{share:.0%} of {wide}" in said
    table = (run / "concepts.csv").read_text().splitlines()
    assert [one.split(",")[1] for one in table].count("a") == 1
    assert main(words) == 0  # the second time it is found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--target", "bird"), "--target bird is no class of the head kind"),
        (("--layer", "stages.9"), "no layer 'stages.9' with maps"),
        (("--points", "6"), "points must be a power of two"),
        (("--divided", "1", "--layer", "stages.0"), "no layer with larger maps before stages.0; name one by --earlier"),
    ],
)
def test_bad_input_is_told(folder, capsys, given, words):
    assert main(line(folder, *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
