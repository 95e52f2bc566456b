"""`intaglio causal train-skeleton` as a person uses it: trained, killed, resumed, and used by `discover spot`."""

import json

import numpy as np
import pytest

from intaglio.causal.methods.spot import cascade_training, network_calibration
from intaglio.cli import main

TINY = ["causal", "train-skeleton", "--models", "10", "--variables", "5", "6", "--rows", "50", "100"]
TINY += ["--trees", "4", "--leaves", "4"]
BOTH = [*TINY, "--network-models", "10"]
ASK = ["--restarts", "2", "--steps", "10", "--stages", "3", "--half-samples", "0"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of a training that nothing stopped."""
    root = tmp_path_factory.mktemp("whole")
    assert main(["--quiet", *BOTH, "--runs", str(root)]) == 0
    return [next(root.glob(f"*/{name}")).read_bytes() for name in ("cascade.safetensors", "network.json")]


@pytest.fixture
def outcome(capsys):
    def run(*words):
        code = main(list(words))
        return code, *capsys.readouterr()

    return run


def write_table(path):
    a, b, noise = np.random.default_rng(0).standard_normal((3, 150))
    np.savetxt(path, np.stack([a, b, a + b + 0.3 * noise], 1), delimiter=",", header="a,b,c", comments="")
    return str(path)


def test_it_writes_posteriors_that_discover_takes_and_tells_their_figures(outcome, folder):
    code, out, err = outcome(*BOTH)
    assert code == 0
    cascade, network = out.split()
    assert (cascade.rpartition("/")[2], network.rpartition("/")[2]) == ("cascade.safetensors", "network.json")
    told = [line for line in err.splitlines() if line.startswith(("cascade, ", "network, "))]
    assert len(told) == 4
    for word in ("log-loss", "Brier", "AUROC", "expected calibration error"):
        assert all(word in line for line in told)
    run = json.loads((folder / cascade).parent.joinpath("run.json").read_text())
    figures = run["summary"]["held_out"]
    assert f"AUROC {figures['cascade']['with_hidden']['auroc']:.4f}" in told[0]
    assert f"log-loss {figures['network']['without_hidden']['log_loss']:.4f}" in told[3]
    assert not list((folder / cascade).parent.joinpath("states").glob("*"))
    table = write_table(folder / "garden.csv")
    for file in (cascade, network):
        code, out, _ = outcome("discover", "spot", table, "--posterior", file, *ASK, "--json")
        assert code == 0
        said = json.loads(out)
        recorded = json.loads((folder / said["folder"] / "run.json").read_text())
        assert recorded["inputs"]["posterior"]["path"] == file


def test_with_json_it_ends_with_one_line_of_it(outcome):
    code, out, _ = outcome("--quiet", *TINY, "--json")
    assert code == 0
    told = json.loads(out)
    assert told["files"] == [f"{told['folder']}/cascade.safetensors"]
    assert set(told["held_out"]["cascade"]["with_hidden"]) >= {"log_loss", "brier", "auroc", "ece"}
    again = outcome("--quiet", *TINY, "--json")
    assert json.loads(again[1]) == told


@pytest.mark.parametrize("killed_in", ["fit_boosted_trees", "_calibrated", "_scored"])
def test_a_killed_training_goes_on_to_the_same_files(outcome, folder, monkeypatch, whole, killed_in):
    place = network_calibration if killed_in == "_scored" else cascade_training
    real, calls = getattr(place, killed_in), []

    def counted(*given, **settings):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*given, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(place, killed_in, counted)
        assert outcome("--quiet", *BOTH, "--runs", "cut")[0] != 0
    fits = []
    fit = cascade_training.fit_boosted_trees
    monkeypatch.setattr(cascade_training, "fit_boosted_trees", lambda *a, **k: fits.append(1) or fit(*a, **k))
    _, again, _ = outcome("--quiet", *BOTH, "--runs", "cut")
    assert len(fits) == (1 if killed_in == "fit_boosted_trees" else 0)
    assert [(folder / file).read_bytes() for file in again.split()] == whole


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--models", "9"], "models must be 10 or more"),
        (["--network-models", "5"], "network_models must be 0, or 10 or more"),
        (["--variables", "60", "--network-models", "10"], "a number up to 50"),
        (["--rows", "5", "10"], "rows must be two numbers of 10 or more, the smaller first, not 5 and 10"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_made(outcome, folder, flags, words):
    code, _, err = outcome(*TINY, *flags)
    assert code == 2
    assert words in " ".join(err.split())
    assert not (folder / "runs").exists()


def test_a_posterior_that_is_none_is_told_before_anything_is_made(outcome, folder):
    code, _, err = outcome("discover", "spot", write_table(folder / "garden.csv"), "--posterior", "cascad", *ASK)
    assert code == 2
    assert "cascad is no skeleton posterior: give cascade, network, or a file" in " ".join(err.split())
    assert not (folder / "runs").exists()
