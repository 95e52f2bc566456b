"""Searches whose pieces a cluster does: the same discovery, also where a killed one goes on here."""

import json

import numpy as np
import pandas as pd
import pytest

from intaglio import cli
from intaglio.causal.methods.abic.method import ABIC
from intaglio.causal.methods.sicl.method import SiCL
from intaglio.causal.methods.spot.method import SPOT
from intaglio.runs.fan_out import fan_out_in_order
from intaglio.runs.run import Run
from loopback_cluster import Loopback, in_place_of_ray

QUICK = {"restarts": 3, "steps": 15, "stages": 3}
METHODS = {"sicl": (SiCL(subsamples=3), 3), "abic": (ABIC(**QUICK, rounds=1), 3), "spot": (SPOT(**QUICK), 3 + 10)}
"""Methods, and the pieces of a search."""


def chain(rows: int = 300) -> pd.DataFrame:
    a, b, c, d = np.random.default_rng(0).standard_normal((4, rows))
    return pd.DataFrame({"a": a, "b": (b := a + 0.5 * b), "c": b + 0.5 * c, "d": d})


def told(found) -> str:
    return json.dumps({**found.to_dict(), "seconds": None}, sort_keys=True)


def opened(folder):
    return Run.open(folder, "discover", "x", {}, {}, seed=0, device="cpu", command=(), progress="none")


@pytest.mark.parametrize("name", METHODS)
def test_the_same_is_found_on_a_cluster_and_after_a_kill_there(tmp_path, monkeypatch, name):
    (method, pieces), cluster = METHODS[name], Loopback()
    whole, saves = told(method(chain())), Run.save_state
    with cluster.block():
        assert told(method(chain())) == whole
    assert cluster.pieces == pieces

    def killed(self, state, tensors, meta, every_s=0.0):
        saves(self, state, tensors, meta)
        if cluster.pieces and state != "rounds":
            raise KeyboardInterrupt

    cluster.pieces = 0
    monkeypatch.setattr(Run, "save_state", killed)
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as run, cluster.block():
        method(chain(), run=run)
    assert cluster.pieces > 0
    monkeypatch.setattr(Run, "save_state", saves)
    with opened(tmp_path) as run:
        assert told(method(chain(), run=run)) == whole


def test_results_come_in_the_order_of_the_jobs():
    with Loopback().block():
        assert list(fan_out_in_order(abs, [-3, 2, -1], 2)) == [(-3, 3), (2, 2), (-1, 1)]
    assert list(fan_out_in_order(abs, [-3, 2], 1)) == [(-3, 3), (2, 2)]


def test_restarts_end_at_the_time_limit_and_say_so():
    with Loopback().block():
        found = ABIC(**QUICK, rounds=1, time_limit=1e-6)(chain())
    assert any("the time limit of 1e-06 s" in warning for warning in found.warnings)


def test_the_command_asks_the_cluster_and_says_what_it_cannot_know(tmp_path, monkeypatch):
    cluster = in_place_of_ray(monkeypatch)
    chain().to_csv(tmp_path / "table.csv", index=False)
    words = [str(tmp_path / "table.csv"), "--runs", str(tmp_path / "runs"), "--quiet", "--cluster", "ray"]
    assert cli.main(["discover", "sicl", *words, "--subsamples", "2"]) == 0
    assert cluster.pieces == 2
    (folder,) = (tmp_path / "runs").iterdir()
    assert "the work was spread over a cluster" in json.loads((folder / "run.json").read_text())["warnings"][-1]


@pytest.mark.parametrize(("method", "why"), [("sicl", "it is one pass of a network"), ("cd-nod", "each of its tests")])
def test_a_search_of_one_piece_has_no_use_for_a_cluster(tmp_path, capsys, method, why):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    words = ["discover", method, str(tmp_path / "t.csv"), "--runs", str(tmp_path), "--cluster", "ray"]
    assert cli.main(words) == 2
    assert f"a cluster has nothing to do for {method}: {why}" in capsys.readouterr().err
