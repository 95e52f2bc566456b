"""Condition `halves` of the membership bench: planted losses and gradients, each model once the suspect."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny
from audit_scenes import model
from intaglio.bench.influence.retrained import RetrainedLosses, Retraining, members
from intaglio.bench.membership import bench as membership
from intaglio.bench.membership import halves
from intaglio.bench.membership.bench import MembershipBench
from intaglio.bench.membership.figures import _by_condition, _parts
from intaglio.bench.membership.halves import gradient_audits, stored_audits
from intaglio.runs.run import Run


def _row(audits, name):
    return _by_condition([part for one in audits for part in _parts(one, name)])["halves"]


@pytest.fixture
def planted(monkeypatch):
    """Losses of ten members and ten holdouts under twenty models of halves and two others; some are hard pictures."""
    source = np.random.default_rng(0)
    pool, outside = (replace(tiny.some_pictures(seed, 10), captions=("cat",) * 10) for seed in (0, 1))
    monkeypatch.setattr(halves, "members", lambda: pool)
    monkeypatch.setattr(halves, "holdouts", lambda: outside)
    monkeypatch.setattr(halves.Examples, "of", lambda *args: None)
    hard = source.normal(size=20)
    monkeypatch.setattr(halves, "measured", lambda *args: hard.astype(np.float32))
    kept = source.random((22, 10)) < 0.5
    losses = hard + 0.1 * source.normal(size=(22, 20))
    losses[:, :10] -= 0.4 * kept
    kinds = ("full", *("half",) * 20, "without")
    seeds = np.array([0] * 20 + [1, 0])
    return RetrainedLosses(kinds, np.arange(22), seeds, kept, losses, torch.zeros(0, 3, 4, 4, dtype=torch.uint8))


def test_a_suspect_is_no_shadow_of_itself_and_other_models_are_left_out(planted, monkeypatch):
    asked, original = [], halves.deviations
    monkeypatch.setattr(halves, "deviations", lambda *args: asked.append(args) or original(*args))
    found = stored_audits(planted, model())
    assert len(asked) == 19, "of the first seed's twenty-two, one is of all and two of another kind or seed"
    for fit, others, _ in asked:
        assert len(others) == 16
        assert not (others == fit).all(1).any()
    assert _row(found, "lira")["auc"] > 0.97
    assert _row(found, "loss-gap")["auc"] > 0.97
    assert _row(found, "loss-gap alone")["auc"] < 0.75
    assert _row(found, "lira")["outside"] == int((~planted.kept[1:20]).sum())
    assert _row(found, "lira")["seconds"] is None


def test_gradients_are_told_apart_by_the_other_models():
    source = np.random.default_rng(1)
    pool, count = len(members()), len(members()) + 5
    norms = []
    for place in range(4):
        rows = source.normal(size=(3, count))
        rows[1, :pool] -= 4 * Retraining("half", place, 0).kept
        norms.append({f"block {k}": row.tolist() for k, row in enumerate(rows)})
    found = gradient_audits(norms, 10)
    assert _row(found, "gsa")["auc"] > 0.97
    assert 0.6 < _row(found, "gradient-norm")["auc"] < _row(found, "gsa")["auc"]
    assert (_row(found, "gsa")["calls"], _row(found, "gradient-norm")["calls"]) == (40, 10)


def test_only_what_the_rows_need_is_tuned_and_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(membership.RetrainedLosses, "shipped", lambda: None)
    monkeypatch.setattr(membership, "stored_audits", lambda *args: [])
    asked = []
    monkeypatch.setattr(membership, "gradient_norms", lambda base, method, place: asked.append(place) or {"a": [1.0]})
    monkeypatch.setattr(membership, "gradient_audits", lambda norms, levels: [{"count": len(norms)}])
    monkeypatch.setattr(membership.MembershipBench, "base", property(lambda self: None))

    def recorded(**given):
        bench = MembershipBench(workers=1, runs=tmp_path, **given)
        about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
        with Run.open(tmp_path, "bench", "membership", {"of": str(given)}, {}, **about) as run:
            asked.clear()
            bench._measure_halves(run, 1)
            return set(run.recorded("halves")), list(asked)

    assert recorded(rows=("lira",)) == ({"stored losses"}, [])
    assert recorded(rows=("gsa",), quick=True) == ({"gradients"}, [0, 1, 2, 3, 4])
    assert recorded(quick=True) == ({"stored losses"}, [])
    assert recorded() == ({"stored losses", "gradients"}, list(range(9)))
    assert recorded(rows=("pia",)) == recorded(model=tmp_path) == (set(), [])
    assert MembershipBench(rows=("lira", "gsa"))._jobs() == []
