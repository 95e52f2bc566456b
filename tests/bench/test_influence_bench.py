"""The bench of influence: its figures on planted truth, and end to end on a tiny model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from audit_scenes import model, pictures
from intaglio.bench.influence import bench as room
from intaglio.bench.influence import retrained
from intaglio.bench.influence.bench import InfluenceBench
from intaglio.bench.influence.figures import figures_of
from intaglio.bench.influence.retrained import RetrainedLosses, Retraining, retrainings
from intaglio.bench.influence.truth import Split, datamodels, lds, reliability, removals, rises
from intaglio.denoising.examples import Examples
from intaglio.errors import BadInput, IntaglioError
from intaglio.runs.run import Run

MEMBERS, ASKED = 12, 30


def planted(subsets=60, noise=0.3, seed=0):
    """Losses that rise by tau when a member is removed, and tau."""
    draws = np.random.default_rng(seed)
    tau = draws.normal(size=(ASKED, MEMBERS))
    kinds, places, seeds, kept = [], [], [], []
    for which in (0, 1):
        order = np.random.default_rng(5)
        for place in range(subsets):
            half = order.permutation(MEMBERS) < MEMBERS // 2
            kinds, places, seeds, kept = [*kinds, "half"], [*places, place], [*seeds, which], [*kept, half]
    for member in range(MEMBERS):
        kinds, places, seeds = [*kinds, "without"], [*places, member], [*seeds, 0]
        kept.append(np.arange(MEMBERS) != member)
    kinds, places, seeds, kept = [*kinds, "full"], [*places, 0], [*seeds, 0], [*kept, np.ones(MEMBERS, bool)]
    kept = np.stack(kept)
    losses = 5 + (~kept) @ tau.T + noise * draws.normal(size=(len(kept), ASKED))
    drawn = torch.zeros(6, 3, 16, 16, dtype=torch.uint8)
    return RetrainedLosses(tuple(kinds), np.array(places), np.array(seeds), kept, losses, drawn), tau


def test_planted_influences_reach_the_ceiling_and_others_do_not():
    truth, tau = planted()
    split = Split.of(truth, range(ASKED))
    for part, parity in ((split.even, 0), (split.odd, 1)):
        chosen = [r for r in range(60) if truth.places[r] % 2 == parity]  # the first seed's come first
        np.testing.assert_array_equal(part[0], truth.kept[chosen])
        np.testing.assert_array_equal(part[1], truth.losses[chosen])
    ceiling = reliability(truth, range(ASKED))
    # noise of 0.3 beside a variance of MEMBERS / 4 * 1 of what the halves change: a correlation of 1 / (1 + 0.09 / 3)
    assert 0.93 < ceiling.mean() < 0.99
    assert lds(tau, *split.odd).mean() == pytest.approx(np.sqrt(ceiling.mean()), abs=0.03)
    assert lds(-tau, *split.odd).mean() < -0.9
    assert abs(lds(np.roll(tau, 1, axis=0), *split.odd).mean()) < 0.2
    assert lds(datamodels(*split.even), *split.odd).mean() > 0.8
    assert rises(tau, *split.odd).mean() > 1
    assert abs(np.nanmean(rises(np.roll(tau, 1, axis=0), *split.odd))) < 0.5


def test_exact_removals_are_differences_of_means_and_none_where_a_member_is_missing():
    truth, tau = planted(noise=0)
    np.testing.assert_allclose(removals(truth, [3, 1]), tau[[3, 1]], atol=1e-12)
    few = np.array([kind != "without" or place != 4 for kind, place in zip(truth.kinds, truth.places, strict=True)])
    part = replace(
        truth, kinds=tuple(np.array(truth.kinds)[few]), places=truth.places[few], seeds=truth.seeds[few],
        kept=truth.kept[few], losses=truth.losses[few],
    )  # fmt: skip
    assert removals(part, [3]) is None
    one = replace(truth, seeds=np.zeros_like(truth.seeds))
    assert reliability(one, [0, 1]) is None


def test_equal_losses_correlate_with_nothing():
    kept = np.array([[True, False], [False, True], [True, True]])
    assert lds(np.ones((1, 2)), kept, np.ones((3, 1))).tolist() == [0.0]


def test_a_row_tuned_is_chosen_on_even_subsets_and_measured_on_odd_ones(tmp_path):
    truth, tau = planted()
    even_only = np.array(tau)
    with Run.open(tmp_path, "bench", "x", {}, {}, seed=0, device="cpu", command=(), progress="none") as run:
        row = {"seconds": 1.0, "calls": 3, "role": "method"}
        run.record("tau", "trak", {"tau": (-tau).tolist(), **row})
        run.record("tau", "trak tuned 0.1", {"tau": (-tau).tolist(), **row})
        run.record("tau", "trak tuned 10", {"tau": even_only.tolist(), **row})
        groups = {"members": list(range(12)), "holdouts": list(range(12, 24)), "drawn": list(range(24, 30))}
        figures = figures_of(run, truth, groups, ("datamodels", "exact"))
    assert list(figures["rows"]) == ["trak", "trak tuned", "datamodels", "exact"]
    assert figures["rows"]["trak tuned"]["damping"] == 10
    assert figures["rows"]["trak tuned"]["members"]["lds"] > 0.9
    assert figures["lds_trak"] < -0.9
    low, high = figures["rows"]["exact"]["drawn"]["interval"]
    assert low < figures["rows"]["exact"]["drawn"]["lds"] < high
    assert figures["rows"]["exact"]["members"]["loo"] == pytest.approx(1)
    assert (figures["models"], figures["subsets_measured"]) == (len(truth.kinds), 30)
    table = InfluenceBench().summary(figures)
    assert "trak tuned" in table
    assert table.count("\n") == 6


def test_every_model_is_made_once_and_keeps_what_its_name_says():
    every = retrainings()
    assert len(every) == len({one.key for one in every}) == 384
    half = Retraining("half", 3, 0)
    assert half.kept.sum() == 20
    np.testing.assert_array_equal(half.kept, Retraining("half", 3, 1).kept)
    assert (half.kept != Retraining("half", 4, 0).kept).any()
    assert np.flatnonzero(~Retraining("without", 7, 2).kept).tolist() == [7]
    assert Retraining("full", 0, 5).kept.all()
    names = set(retrained.members().hashes) & set(retrained.holdouts().hashes)
    assert not names
    assert len(set(retrained.drawn_prompts())) == retrained.DRAWN


def stored(folder, truth):
    arrays = {"places": truth.places, "seeds": truth.seeds, "kept": truth.kept, "losses": truth.losses}
    np.savez(folder / "losses.npz", kinds=np.array(truth.kinds), drawn=truth.drawn.numpy(), **arrays)
    return folder / "losses.npz"


def test_the_bench_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    net = model()
    truth = planted()[0]
    truth = replace(truth, kept=truth.kept[:, :4], losses=truth.losses[:, :10], drawn=truth.drawn[:2])
    monkeypatch.setattr(retrained, "drawn_prompts", lambda: ("cat", "dog"))
    every = Examples.of(net, pictures(10), ["cat"] * 10)
    monkeypatch.setattr(room, "load_model", lambda path, device: net)
    monkeypatch.setattr(room, "asked", lambda model, drawn: every)
    made = []
    monkeypatch.setattr(Retraining, "model", lambda self, base: made.append(self.key) or base)
    bench = InfluenceBench(
        quick=True,
        rows=("grad-dot", "similarity", "datamodels"),
        losses=stored(tmp_path, truth),
        runs=tmp_path / "runs",
    )
    figures = bench(progress="none")
    assert made == ["full-00-00"]
    assert list(figures["rows"]) == ["grad-dot", "similarity", "datamodels"]
    assert set(figures["rows"]["grad-dot"]) >= {"members", "holdouts", "drawn", "calls", "seconds"}
    assert figures["rows"]["grad-dot"]["calls"] == 10 * 30
    assert json.dumps(figures)
    assert bench(progress="none") == figures
    assert made == ["full-00-00"]


def test_bad_input_is_told(tmp_path):
    with pytest.raises(BadInput, match="nowhere does not exist; check the path of --losses"):
        InfluenceBench(losses=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no method 'x'; choose from: d-trak"):
        InfluenceBench(rows=("x",))
    truth = planted(4)[0]
    damaged = stored(tmp_path, truth)
    arrays = dict(np.load(damaged))
    np.savez(damaged, **{**arrays, "losses": arrays["losses"][:3]})
    with pytest.raises(IntaglioError, match="is damaged"):
        RetrainedLosses.load(damaged)
