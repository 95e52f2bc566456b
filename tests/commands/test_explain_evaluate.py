"""`intaglio explain evaluate` from the command line to its report, and what it refuses."""

import pytest

from intaglio.cli import main
from intaglio.explain.method_comparison import MethodComparison
from intaglio.explain.trials import AttributionTrials
from intaglio.images.image_set import save_png
from intaglio.models.classifiers import new_classifier, save_classifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier that calls pictures by their place, and five of them of four classes."""
    folder = tmp_path_factory.mktemp("evaluate")
    import torch

    net = new_classifier({"kind": ("a", "b", "c", "d")}, 0, widths=(4, 6), repeats=(1, 1)).eval()
    pixels = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        head = net.heads["kind"]
        features = net.features(pixels)
        centred = features - features.mean(0)
        head.weight.copy_(3e4 * torch.linalg.svd(centred, full_matrices=False)[2][:4])
        head.bias.copy_(-head.weight @ features.mean(0))
    save_classifier(net, folder / "net.safetensors")
    for k, one in enumerate(pixels):
        save_png(one, folder / "pictures" / f"{k:02d}.png")
    return folder


def line(folder, tmp_path, *further):
    words = f"explain evaluate --images {folder}/pictures --network {folder}/net.safetensors --quiet --grids 2"
    small = "--resolution 16 --pictures 2 --methods input-gradient grad-cam"
    return [*words.split(), *small.split(), "--runs", str(tmp_path / "runs"), *further]


def test_rows_strips_and_a_report_and_a_stopped_one_goes_on(folder, tmp_path, capsys, monkeypatch):
    asked, ask = [], AttributionTrials.__call__

    def stopping(self, method):
        asked.append(method.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(self, method)

    monkeypatch.setattr(AttributionTrials, "__call__", stopping)
    words = line(folder, tmp_path, "--layers", "stages.0")
    assert main(words) != 0
    assert main(words) == 0
    assert len(asked) == 5  # four rows, and the stopped one again
    said = capsys.readouterr().out
    (run,) = (tmp_path / "runs").glob("explain-evaluate-*")
    found = MethodComparison.load(run)
    names = ["grad-cam at stages.0", "input-gradient", "input-gradient smooth 5", "input-gradient at stages.0"]
    assert sorted(one.name for one in found.compared) == sorted(names)
    assert {one.name: one.mean("difull") for one in found.compared}["input-gradient"] == 1.0
    assert found.statement in said
    page = (run / "report.html").read_text()
    assert page.count("data:image/png") == 4 * 2 * 6
    assert "input-gradient at stages.0, split" in page


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--layers", "stages.9"), "no layer 'stages.9' with maps"),
        (("--methods", "saliency"), "no method 'saliency'; choose from: grad-cam"),
        (("--grids", "0"), "pictures and grids must be at least 1"),
        (("--smooth", "4"), "smooth must be 0 or an odd number"),
    ],
)
def test_bad_input_is_told(folder, tmp_path, capsys, given, words):
    assert main(line(folder, tmp_path, *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
