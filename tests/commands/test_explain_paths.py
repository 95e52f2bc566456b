"""`intaglio explain paths` from the command line to its report, and what it refuses."""

import pytest

import explain_scenes
from intaglio.cli import main
from intaglio.explain.paths.methods.interventions import EdgeInterventions
from intaglio.explain.paths.result import ClassGraph
from intaglio.images.image_set import save_png
from intaglio.models.classifiers import save_classifier


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    save_classifier(explain_scenes.chained().network, folder / "net.safetensors")
    (folder / "pictures").mkdir()
    for k, pixels in enumerate(explain_scenes.reds(48).pixels):
        save_png(pixels, folder / "pictures" / f"{k:02d}.png")
    return folder


def line(scene, tmp_path, *further):
    words = f"explain paths interventions --network {scene / 'net.safetensors'} --images {scene / 'pictures'}"
    return [
        *words.split(),
        *["--resolution", "16", "--screened", "9", "--quiet", "--runs"],
        str(tmp_path / "runs"),
        *further,
    ]


def test_the_chain_and_a_report_and_a_stopped_one_goes_on(scene, tmp_path, capsys, monkeypatch):
    asked, ask = [], EdgeInterventions.effects

    def stopping(self, chain, edges, pixels):
        asked.append(edges[0].layer)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(self, chain, edges, pixels)

    monkeypatch.setattr(EdgeInterventions, "effects", stopping)
    words = line(scene, tmp_path, "--target", "yes")
    assert main(words) != 0
    assert main(words) == 0
    assert asked == [0, 1, 1, 2]
    (run,) = (tmp_path / "runs").glob("explain-paths-interventions-*")
    found = ClassGraph.load(run)
    assert int(found.kept.sum()) == 3
    assert found.statement in capsys.readouterr().out
    page = (run / "report.html").read_text()
    assert "stages.1.0.0 0" in page
    assert "as many random edges of each layer" in page
    assert (run / "class_graph.csv").read_text().startswith("source,target,effect\n")


def test_bad_input_is_told(scene, tmp_path, capsys):
    assert main(line(scene, tmp_path, "--target", "yes", "--depth", "3")) == 2
    assert "has 3 convolutions; give a --depth below that" in " ".join(capsys.readouterr().err.split())
