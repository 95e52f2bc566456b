"""`intaglio explain surrogate` from the command line to its report, and what it refuses."""

import numpy as np
import pytest

import explain_scenes
import surrogate_scenes
from intaglio.cli import main
from intaglio.explain.surrogate.family import SurrogateChooser
from intaglio.explain.surrogate.result import SurrogateRules
from intaglio.images.image_set import save_png
from intaglio.models.classifiers import save_classifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    rows = surrogate_scenes.small()
    np.savez(folder / "f.npz", names=np.array(rows.names), features=rows.features)
    lines = [f"{name},{p[0]},{p[1]}" for name, p in zip(rows.names, rows.probabilities, strict=True)]
    (folder / "p.csv").write_text("\n".join(["picture,yes,no", *lines]))
    save_classifier(explain_scenes.chained().network, folder / "net.safetensors")
    for k, pixels in enumerate(explain_scenes.reds(48).pixels):
        save_png(pixels, folder / "pictures" / f"{k:02d}.png")
    return folder


def line(tmp_path, *further):
    words = f"explain surrogate two-phase --trees 5 --most 3 --depth 2 --quiet --runs {tmp_path}/runs"
    return [*words.split(), *map(str, further)]


def test_tables_to_a_report_and_a_stopped_one_goes_on(folder, tmp_path, capsys, monkeypatch):
    words = line(tmp_path, "--features", folder / "f.npz", "--predictions", folder / "p.csv")
    asked, ask = [], SurrogateChooser._validated

    def stopping(self, candidates, columns):
        asked.append(len(columns))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(self, candidates, columns)

    monkeypatch.setattr(SurrogateChooser, "_validated", stopping)
    assert main(words) != 0
    assert main(words) == 0
    assert asked == [1, 2, 2, 3]
    (run,) = (tmp_path / "runs").glob("explain-surrogate-two-phase-*")
    found = SurrogateRules.load(run)
    said = capsys.readouterr().out
    assert found.statement in said
    assert found.rule_rows()[0]["rule"] in said
    page = (run / "report.html").read_text()
    assert "What would have to change" in page
    assert found.counterfactuals[0].row in page
    assert (run / "rules.csv").read_text().startswith("rule,class,probability")
    assert (run / "counterfactuals.csv").read_text().startswith("row,from,to,distance")


def test_a_classifier_is_asked_by_its_head_or_explained_by_a_layers_channels(folder, tmp_path):
    given = ["--images", folder / "pictures", "--network", folder / "net.safetensors", "--resolution", 16]
    assert main(line(tmp_path, *given)) == 0
    (run,) = (tmp_path / "runs").glob("explain-surrogate-two-phase-*")
    found = SurrogateRules.load(run)
    assert found.asked
    assert found.features[0].name.startswith("head channel ")
    assert all(one.says in found.classes for one in found.counterfactuals)
    assert main([*line(tmp_path / "other", *given), "--layer", "stages.1.0.0"]) == 0
    (run,) = (tmp_path / "other/runs").glob("explain-surrogate-two-phase-*")
    found = SurrogateRules.load(run)
    assert not found.asked
    assert found.features[0].name.startswith("stages.1.0.0 channel ")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "there are no rows; give --features and --predictions, or --images"),
        (("--features", "{f}/f.npz"), "there are no rows"),
        (("--features", "{f}/f.npz", "--predictions", "{f}/none.csv"), "check the path of --predictions"),
        (("--features", "{f}/f.npz", "--images", "{f}/pictures"), "leave one of them out"),
        (("--features", "{f}/f.npz", "--predictions", "{f}/p.csv", "--head", "x"), "give these with --images"),
    ],
)
def test_bad_input_is_told(folder, tmp_path, capsys, given, words):
    assert main(line(tmp_path, *(one.format(f=folder) for one in given))) == 2
    assert words in " ".join(capsys.readouterr().err.split())
