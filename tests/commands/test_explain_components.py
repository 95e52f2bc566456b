"""`intaglio explain components` from the command line to its report, its warnings, and what it refuses."""

import json

import pytest

import tiny
from intaglio.cli import main
from intaglio.explain.components.methods.relp import RelevancePatching
from intaglio.explain.components.result import PatchedComponents


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


def line(base, tmp_path, method, *further):
    words = f"explain components {method} --model {base} --draws 2 --steps 2 --branches feed-forward --quiet"
    return [*words.split(), "--runs", str(tmp_path / "runs"), *further]


def test_effects_their_checks_and_a_report_and_a_stopped_one_goes_on(base, tmp_path, capsys, monkeypatch):
    asked, ask = [], RelevancePatching.effects

    def stopping(self, point, chosen):
        asked.append(int(point.t))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(self, point, chosen)

    monkeypatch.setattr(RelevancePatching, "effects", stopping)
    words = line(base, tmp_path, "relp", "--clean", "<b> cat", "--corrupted", "dog", "--verify", "3")
    assert main(words) != 0
    assert main(words) == 0
    assert asked == [749, 250, 250]
    (run,) = (tmp_path / "runs").glob("explain-components-relp-*")
    found = PatchedComponents.load(run)
    assert found.statement in capsys.readouterr().out
    assert len(found.checks.chosen.numbers) == 6
    page = (run / "report.html").read_text()
    assert "“&lt;b&gt; cat”" in page
    assert "<b> cat" not in page
    assert "2 draws are too few for an interval" in page
    assert found.rows()[0]["component"] in page
    assert "sum of effects" in page
    assert not list((run / "states").glob("*"))
    summary = json.loads((run / "run.json").read_text())["summary"]
    assert summary == pytest.approx(found.figures())


def test_what_was_not_checked_is_told_and_what_is_measured_needs_none(base, tmp_path, capsys):
    pair = ("--clean", "cat", "--corrupted", "dog")
    assert main(line(base, tmp_path, "attribution-patching", *pair, "--verify", "0")) == 0
    assert main(line(base, tmp_path, "activation-patching", *pair, "--unit", "branch")) == 0
    assert "it is measured" in capsys.readouterr().out
    stored = {path.parent.name: path.read_text() for path in (tmp_path / "runs").glob("*/run.json")}
    told = {name.rpartition("-")[0]: "and none was checked" in text for name, text in stored.items()}
    assert told == {"explain-components-attribution-patching": True, "explain-components-activation-patching": False}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--clean", "cat", "--corrupted", "cat"), "the clean and the corrupted prompt are the same"),
        (("--clean", "cat", "--corrupted", "dog", "--verify", "-1"), "verify must be 0 or more, not -1"),
    ],
)
def test_bad_input_is_told(base, tmp_path, capsys, given, words):
    assert main(line(base, tmp_path, "relp", *given)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
