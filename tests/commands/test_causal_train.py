"""`intaglio causal train` as a person uses it: a small network, killed, resumed, and used by `discover`."""

import json

import numpy as np
import pytest

from intaglio.causal.methods.sicl.networks.weights import load_network
from intaglio.causal.methods.sicl.training import training
from intaglio.cli import main
from intaglio.commands.causal import train
from intaglio.learning.trainer import Trainer

TRIAL = ["causal", "train", "--preset", "trial"]
LESS = ["--steps", "6", "--judge-every", "6", "--calibrated-on", "24", "--proved-on", "16", "--weighed-on", "1"]
LEAST = [*LESS, "--calibrated-on", "8", "--proved-on", "8", "--weighed-on", "0"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def outcome(capsys):
    def run(*words):
        code = main(["--quiet", *words])
        return code, *capsys.readouterr()

    return run


def write_table(path):
    a, b, noise = np.random.default_rng(0).standard_normal((3, 80))
    np.savetxt(path, np.stack([a, b, a + b + 0.3 * noise], 1), delimiter=",", header="a,b,c", comments="")
    return path


def test_a_network_of_trial_size_is_trained_told_of_and_asked(outcome, folder):
    code, out, err = outcome(*TRIAL, *LESS)
    assert (code, err) == (0, "")
    model = folder / out.strip()
    made = load_network(str(model))
    assert made.kind == "light"
    assert made.network.shape.width == 8  # the preset's
    facts = made.facts
    assert facts["steps"] == 6  # the flag's
    assert facts["columns"] == [3, 5]
    assert facts["tables"] > 6
    card = (model / "README.md").read_text()
    assert card.startswith("# A light network for causal discovery\n")
    for words in (
        f"{facts['parameters']:,} parameters (width 8, ",
        f"Trained on {facts['tables']:,} simulated tables in 6 steps",
        "seed 0: 3 to 5 columns, 50 to 100 rows",
        "never saw: ws, grg.",
        "Calibrated on 24 tables and measured on 16",
        "| skeleton | ",
        "| edge said | was | pairs |",
        "Assumes no cycles",
    ):
        assert words in " ".join(card.split()) or words in card
    told = facts["calibration"]["skeleton"]
    assert f"| skeleton | {told['ece']:.4f} | {told['ece_raw']:.4f} | {told['brier']:.4f} |" in card
    assert max(map(len, card.splitlines())) <= 120
    run = model.parent
    summary = json.loads((run / "run.json").read_text())["summary"]
    assert summary["model"] == "model"
    assert summary["calibration"]["skeleton"]["ece"] == told["ece"]
    assert not list((run / "states").glob("*"))

    table = write_table(folder / "garden.csv")
    code, out, err = outcome("discover", str(table), "--model", str(model), "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    recorded = json.loads((folder / said["folder"] / "run.json").read_text())
    assert recorded["inputs"]["network"]["sha256"] == made.fingerprint


def test_a_killed_training_goes_on_to_the_same_network(outcome, folder, monkeypatch):
    _, whole, _ = outcome(*TRIAL, *LEAST, "--runs", "whole")
    real = Trainer.update

    def until_four(self, loss, norm):
        if self.step == 4:
            raise KeyboardInterrupt
        real(self, loss, norm)

    monkeypatch.setattr(training, "CHECKPOINT_S", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "update", until_four)
        code, _, _ = outcome(*TRIAL, *LEAST, "--runs", "cut")
        assert code != 0
    steps = []
    monkeypatch.setattr(Trainer, "update", lambda self, *rest: steps.append(self.step) or real(self, *rest))
    # Killed once more, while it calibrates.
    with monkeypatch.context() as patched:
        patched.setattr(train, "calibrated", lambda taught: (_ for _ in ()).throw(KeyboardInterrupt))
        code, _, _ = outcome(*TRIAL, *LEAST, "--runs", "cut")
        assert code != 0
    assert steps == list(range(steps[0], 6))
    assert steps[0] > 0
    taken = len(steps)
    code, again, _ = outcome(*TRIAL, *LEAST, "--runs", "cut")
    assert code == 0
    assert len(steps) == taken
    one, other = (folder / out.strip() / "model.safetensors" for out in (whole, again))
    assert one.read_bytes() == other.read_bytes()
    once, twice = (load_network(str(folder / out.strip())) for out in (whole, again))
    assert once.calibration == twice.calibration
    assert once.facts["tables"] == twice.facts["tables"]
    # What is done is not done again.
    _, third, _ = outcome(*TRIAL, *LEAST, "--runs", "cut")
    assert third == again
    assert len(steps) == taken


def test_a_node_edge_network_is_never_refined_and_says_what_it_does_not_take(outcome, folder):
    code, out, _ = outcome(
        *TRIAL, *LEAST, "--network", "node-edge", "--pair-width", "48", "--pair-layers", "4", "--runs", "baseline"
    )
    assert code == 0
    model = folder / out.strip()
    made = load_network(str(model))
    assert made.score_weights == {}
    assert "arrows" in made.facts["calibration"]
    table = write_table(folder / "garden.csv")
    ask = ["discover", str(table), "--model", str(model)]
    assert outcome(*ask)[0] == 0
    assert outcome(*ask, "--refine", "0")[0] == 0
    for flags, word in ((["--refine", "0.5"], "refine"), (["--collider-threshold", "0.7"], "collider_threshold")):
        code, _, err = outcome(*ask, *flags)
        assert code != 0
        assert f"takes no {word}; leave it out" in err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--heads", "3"], "heads must divide the width (8)"),
        (["--network", "axial"], "pair_width is of light networks"),
        (["--columns", "1", "3"], "2 columns"),
        (["--held-back", "zoo"], "no family 'zoo'"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_made(outcome, folder, flags, words):
    code, _, err = outcome(*TRIAL, *flags)
    assert code != 0
    assert words in " ".join(err.split())
    assert not (folder / "runs").exists()
