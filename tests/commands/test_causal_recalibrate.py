"""`intaglio causal recalibrate` as a person uses it: a network with trees, its card, and what is refused."""

import json

import numpy as np
import pytest

from intaglio.causal.methods.sicl.networks.weights import load_network
from intaglio.causal.methods.sicl.training import fit_recalibration
from intaglio.cli import main

FIGURES = {"shd_unaided": 12.25, "shd_answer": 5.0, "shd_empty": 6.0, "ece_before": 0.3, "ece": 0.04, "worse": 0.5}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def learnt(monkeypatch):
    """Trees that are learnt from numbers instead of tables."""
    rng = np.random.default_rng(0)
    table, pair = (
        load_network("light").recalibration.worse.features,
        load_network("light").recalibration.pairs.features,
    )
    pairs, tables = rng.standard_normal((60, pair)), rng.standard_normal((60, table))
    lesson = fit_recalibration.Lesson(pairs, pairs[:, 0] > 0, np.ones(60), tables, tables[:, 0] > 0, tables[:, 0] > 0)
    monkeypatch.setattr(fit_recalibration, "gather_lesson", lambda *given: lesson)
    figures = {"tables": 20, "rare": FIGURES | {"auc": 0.9}, "all": FIGURES | {"auc": 0.875}}
    monkeypatch.setattr(fit_recalibration, "measured", lambda *given: figures)


def test_a_network_learns_its_doubts_and_its_card_tells_them(learnt, folder, capsys):
    words = ["--quiet", "causal", "recalibrate", "--tables", "100", "--test-tables", "20"]
    assert main(words) == 0
    model = folder / capsys.readouterr().out.strip()
    made, before = load_network(str(model)), load_network("light")
    assert made.recalibration is not None
    assert made.fingerprint != before.fingerprint
    assert made.facts["recalibration"]["learnt_from"] == 100
    assert made.facts["steps"] == before.facts["steps"]
    card = (model / "README.md").read_text()
    assert card.startswith("# A light network for causal discovery\n")
    assert card.count("## Recalibration") == 1
    assert "| rare | 12.2 | 5.0 | 6.0 | 0.300 | 0.040 | 0.500 | 0.900 |" in card
    assert "100 simulated tables and measured on 20" in " ".join(card.split())
    assert max(map(len, card.splitlines())) <= 120
    summary = json.loads((model.parent / "run.json").read_text())["summary"]
    assert summary["recalibration"]["all"]["auc"] == 0.875
    assert main(words) == 0, "a finished run is read"
    assert folder / capsys.readouterr().out.strip() == model


def test_what_cannot_be_learnt_is_named(capsys):
    assert main(["causal", "recalibrate", "--model", "node-edge", "--runs", "r"]) == 2
    assert "predicts arrows" in capsys.readouterr().err
    assert main(["causal", "recalibrate", "--tables", "10"]) == 2
    assert "tables must be at least 100, not 10" in capsys.readouterr().err
    assert main(["causal", "recalibrate", "--test-tables", "2"]) == 2
    assert "test_tables must be at least 9, not 2" in capsys.readouterr().err
