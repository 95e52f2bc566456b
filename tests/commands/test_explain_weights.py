"""`intaglio explain weights` from the command line to its report, and what it refuses."""

import pytest

from explain_scenes import classifier
from intaglio.cli import main
from intaglio.explain.weights.result import KernelReadings
from intaglio.models.classifiers import save_classifier


@pytest.fixture
def folder(tmp_path):
    save_classifier(classifier(), tmp_path / "net.safetensors")
    save_classifier(classifier(1), tmp_path / "other.safetensors")
    return tmp_path


def line(folder, *further, network="net"):
    words = f"explain weights filter-statistics --network {folder}/{network}.safetensors --runs {folder}/runs"
    return [*words.split(), "--draws", "2", "--quiet", *further]


def test_layers_have_figures_pictures_and_a_report(folder, capsys):
    words = line(folder, "--against", f"{folder}/other.safetensors")
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob("explain-weights-filter-statistics-*")
    found = KernelReadings.load(run)
    assert found.statement in said
    assert all(one.shift > 0 for one in found.layers)
    page = (run / "report.html").read_text()
    assert page.count("data:image/") == min(len(found.layers), 6)
    assert "symmetric Kullback-Leibler divergence" in page
    assert main(words) == 0  # the second time it is found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--part", "autoencoder"), "--network is looked at in place of a model"),
        (("--against", "nowhere.safetensors"), "nowhere.safetensors does not exist; check the path of --against"),
        (("--draws", "1"), "draws must be 2 to 1000"),
    ],
)
def test_bad_input_is_told(folder, capsys, given, words):
    assert main(line(folder, *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_missing_network_is_told_before_it_is_read(folder, capsys):
    assert main(line(folder, network="none")) == 2
    assert "none.safetensors does not exist; check the path of --network" in " ".join(capsys.readouterr().err.split())
