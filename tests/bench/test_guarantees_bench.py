"""The guarantees bench on small tables: its rows, their intervals, and that it goes on where it was."""

import json
import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

import tiny
from audit_scenes import model, nudged
from intaglio.bench.guarantees import certificate_rows, inference_rows, private_rows, query_rows
from intaglio.bench.guarantees.bench import GuaranteesBench
from intaglio.bench.kit.methods import default_methods
from intaglio.cli import main
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.models import testbed


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(query_rows, "TABLES", 2)
    monkeypatch.setattr(query_rows, "RECORDS", 10)
    monkeypatch.setattr(query_rows, "ENGINES", ("sticky", "laplace"))


def test_a_row_a_method_and_engine_pooled_over_tables_and_gone_on_with(tmp_path, monkeypatch):
    made, attack = [], query_rows.attack_records

    def killed(method, *args, **further):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(method.name)
        return attack(method, *args, **further)

    bench = GuaranteesBench(runs=tmp_path, promises=("queries",))
    monkeypatch.setattr(query_rows, "attack_records", killed)
    with pytest.raises(KeyboardInterrupt):
        bench(progress="none")
    monkeypatch.setattr(query_rows, "attack_records", lambda m, *a, **f: made.append(m.name) or attack(m, *a, **f))
    figures = bench(progress="none")
    assert len(made) == 12, "three methods, two engines, two tables, each once"
    rows = figures["rows"]["queries"]
    assert len(rows) == 6
    for name, row in rows.items():
        assert row["records"] == 20
        assert (row["low"], row["high"]) == clopper_pearson(round(20 * row["accuracy"]), 20)
        sticky = name.endswith("sticky")
        assert (row["exact"] is None, row["bound"] is None) == (not sticky, sticky)
    assert rows["diffix-cloning, sticky"]["accuracy"] == figures["accuracy_diffix_cloning_sticky"] > 0.9
    assert rows["averaging, sticky"]["role"] == "baseline"
    assert rows["averaging, laplace"]["refused_share"] == pytest.approx(1 / 11)
    assert figures["beyond_budget"] == 0
    fresh = GuaranteesBench(runs=tmp_path / "again", promises=("queries",))(progress="none")
    assert fresh["rows"] == figures["rows"]
    monkeypatch.setattr(query_rows, "attack_records", None)
    assert bench(progress="none") == figures
    assert "diffix-cloning, sticky" in bench.summary(figures)


def test_a_row_above_its_budget_is_counted():
    row = {"accuracy": 0.9, "low": 0.8, "bound": 0.7}
    found = query_rows.query_headlines(
        {"a-b, laplace": row, "c, laplace": {**row, "low": 0.6}, "d": {**row, "bound": None}}
    )
    assert found["beyond_budget"] == 1
    assert found["accuracy_a_b_laplace"] == 0.9


def test_the_last_line_is_one_object_of_figures(tmp_path, capsys):
    line = "bench guarantees --quick --json --seed 3 --promises queries --runs"
    assert main([*line.split(), str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["rows"]["queries"]["averaging, sticky"]["records"] == 10
    assert main(["bench", "guarantees", "--seed", "-1", "--runs", str(tmp_path)]) == 2
    assert "seed must be 0" in capsys.readouterr().err


def test_certificates_are_counted_on_subjects_that_no_classifier_saw_and_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(certificate_rows, "QUICK_PICTURES", 5)
    monkeypatch.setattr(certificate_rows, "SIGMAS", (0.01, 5.0))
    monkeypatch.setattr(certificate_rows, "FIRST", 10)
    monkeypatch.setattr(certificate_rows, "VOTES", 40)
    bench = GuaranteesBench(runs=tmp_path, promises=("certificates",), quick=True)
    figures = bench(progress="none")
    little, much = (figures["rows"]["certificates"][f"smoothing {sigma}"] for sigma in ("0.01", "5"))
    assert little["certified"]["0.0"] >= 0.4 >= much["certified"]["0.0"]
    assert little["certified"]["0.1"] == 0  # no radius above 0.01 * Phi^-1(0.001^(1/40))
    assert little["intervals"]["0.0"] == list(clopper_pearson(round(5 * little["certified"]["0.0"]), 5))
    assert figures["certified_smoothing_0_01"] == little["certified"]["0.0"]
    assert figures["rows"]["certificates"]["rrcm 5"]["beside"].keys() == little["certified"].keys()
    assert "right beyond 0.1" in bench.summary(figures)
    _, kinds = certificate_rows._pictures(None)
    assert len(kinds) == 223
    assert len(set(kinds)) == 7


def test_two_networks_are_compared_by_pictures_that_one_alone_certifies():
    """5 to 1: p of McNemar's exact test is 2 (1 + 6) / 2^6."""
    ours, peer = [0.6] * 5 + [-1.0, 0.3, 0.9], [-1.0] * 5 + [0.6, 0.2, 0.9]
    found = certificate_rows._beside({"radii": ours}, {"radii": peer})
    assert found["0.5"] == {"more": 0.5, "alone": [5, 1], "p": pytest.approx(14 / 64)}
    assert found["0.25"]["alone"] == [6, 1]


def test_answers_are_checked_on_pictures_that_no_check_was_fitted_to(tmp_path, monkeypatch):
    monkeypatch.setattr(inference_rows, "KNOWN", 24)
    monkeypatch.setattr(inference_rows, "RATE", 0.2)
    monkeypatch.setattr(inference_rows, "AGREEMENTS", {"": 1.0})

    def methods(seed, quick, agreement):
        brief = {"seed": seed, "agreement": agreement, "steps": 1, "block_steps": 1, "views": 1, "rounds": 2}
        return default_methods("audit inference", **brief)

    monkeypatch.setattr(inference_rows, "_pictures", lambda seed: testbed.few_shot("hands").controls)
    monkeypatch.setattr(inference_rows, "_methods", methods)
    bench = GuaranteesBench(runs=tmp_path, promises=("inference",), quick=True)
    figures = bench(progress="none")
    rows = figures["rows"]["inference"]
    assert set(rows) == {"fides", "js-divergence", "top-class"}
    perfect = rows["top-class"]  # a student that is the classifier itself
    assert (perfect["cost"], perfect["null"], perfect["pictures"], perfect["held"]) == (1.0, 0.0, 16, 6)
    assert perfect["attacks"]["swap"]["power"] == perfect["attacks"]["swap"]["repaired"] == 1.0
    assert perfect["attacks"]["constant"]["attacked"] < 16
    assert figures["power_js_divergence"] == rows["js-divergence"]["attacks"]["random class"]["power"]
    assert "mended, swap" in bench.summary(figures)


def test_private_tunes_stand_beside_the_bound_of_their_noise(tmp_path, monkeypatch):
    net, made = model(), []
    images = tiny.some_pictures(0, 6)
    monkeypatch.setattr(private_rows, "load_model", lambda path: net)
    monkeypatch.setattr(private_rows, "pictures", lambda count: (images[[0, 2, 4]], images[[1, 3, 5]]))
    monkeypatch.setattr(private_rows, "QUICK_STEPS", 2)
    whole = private_rows.figures_of
    monkeypatch.setattr(private_rows, "figures_of", lambda *args: made.append(args[1].name) or whole(*args))
    bench = GuaranteesBench(runs=tmp_path, promises=("private",), quick=True)
    figures = bench(progress="none")
    rows = figures["rows"]["private"]
    assert list(rows) == ["lora", "dp-lora, epsilon 8"]
    assert rows["lora"]["bound"] == 1
    mu = brentq(lambda mu: norm.cdf(mu / 2 - 8 / mu) - math.exp(8) * norm.cdf(-mu / 2 - 8 / mu) - 1 / 30, 0.1, 20)
    assert rows["dp-lora, epsilon 8"]["bound"] == pytest.approx(norm.cdf(mu / math.sqrt(2)), abs=2e-3)
    assert bench(progress="none") == figures
    assert len(made) == 2
    assert "dp-lora, epsilon 8" in bench.summary(figures)


def test_members_and_others_of_private_tunes_are_different_pictures():
    members, others = private_rows.pictures(40)
    assert len(members) == len(others) == 40
    assert not set(members.hashes) & set(others.hashes)


def test_a_tune_that_lowers_the_loss_of_members_alone_is_seen(monkeypatch):
    base, tuned = model(), nudged(model())
    members, others = tiny.some_pictures(0, 2), tiny.some_pictures(1, 2)
    losses = {(base, 0): [1.0, 2.0], (tuned, 0): [0.5, 1.0], (base, 1): [1.0, 3.0], (tuned, 1): [1.0, 2.9]}
    monkeypatch.setattr(private_rows, "_losses", lambda net, images: np.array(losses[net, int(images is others)]))
    found = private_rows.figures_of(base, tuned, members, others)
    assert found["members"] == pytest.approx(0.5)
    assert found["others"] == pytest.approx(3.9 / 4)
    assert found["auc"] == 1.0
