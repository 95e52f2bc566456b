"""`intaglio explain slices` from the command line to its report, and what it refuses."""

import pytest

from explain_scenes import classifier
from intaglio.cli import main
from intaglio.explain.slices.result import ErrorSlices
from intaglio.images.image_set import save_png
from intaglio.models.classifiers import save_classifier
from slice_scenes import coloured


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("slices")
    images, _ = coloured(40)
    lines = ["picture,kind"]
    for k, pixels in enumerate(images.pixels):
        save_png(pixels, root / "pictures" / f"<i>{k}.png")
        lines.append(f"<i>{k}.png,{'animal' if k % 2 else 'food'}")
    (root / "labels.csv").write_text("\n".join(lines))
    save_classifier(classifier(), root / "net.safetensors")
    return root


def line(folder, runs, *further):
    words = f"explain slices domino --images {folder}/pictures --labels {folder}/labels.csv --quiet"
    return [*words.split(), *f"--network {folder}/net.safetensors --resolution 16 --runs {runs}".split(), *further]


def test_slices_have_pictures_and_a_report(folder, tmp_path, capsys):
    words = line(folder, tmp_path)
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = tmp_path.glob("explain-slices-domino-*")
    found = ErrorSlices.load(run)
    assert found.statement in said
    page = (run / "report.html").read_text()
    assert page.count("data:image/") == sum(len(one.pictures) for one in found.groups)
    assert "<i>1" not in page
    assert main(words) == 0  # the second time it is found


def test_pictures_to_learn_from_are_weighed(folder, tmp_path, capsys):
    assert main(line(folder, tmp_path, "--taught", f"{folder}/pictures")) == 0
    said = capsys.readouterr().out
    (run,) = tmp_path.glob("explain-slices-domino-*")
    found = ErrorSlices.load(run)
    assert len(found.weighed) == 40
    assert found.weighing in said
    assert found.weighing in (run / "report.html").read_text()
    assert len((run / "weights.csv").read_text().splitlines()) == 41


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--taught-labels", __file__), "--taught-labels is of the pictures of --taught; give that folder too"),
        (("--taught", "nowhere"), "nowhere does not exist"),
        (("--column", "artist"), "has no column 'artist'; it has: kind; name one with --column"),
        (("--layer", "stages.9"), "no layer 'stages.9' with maps"),
        (("--head", "artist", "--column", "kind"), "is no class of the head artist: one, two"),
        (("--similarity", "ssim"), "ssim has no descriptors"),
        (("--least", "1.5"), "least must be above 0 and below 1"),
    ],
)
def test_bad_input_is_told(folder, tmp_path, capsys, given, words):
    assert main(line(folder, tmp_path, *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
