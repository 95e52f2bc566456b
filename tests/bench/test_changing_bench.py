"""The bench of changing mechanisms: simulated tables with planted truths, and figures of known answers."""

import numpy as np
import pytest

from intaglio.bench.latent.changing import (
    ByChanges,
    ByGuess,
    ChangingAnswer,
    ChangingCell,
    changing_figures,
    pooled,
    simulated_table,
    usual_ways,
)
from intaglio.causal.graphs.paths import cycle
from intaglio.causal.methods.cd_nod.method import CDNOD

QUICK = CDNOD(test="partial-correlation", phases=3)


def perfect(table, seed):
    arrows = frozenset((int(i), int(j)) for i, j in np.argwhere(table.dag))
    return ChangingAnswer(arrows, frozenset(), table.changing)


def reversed_arrows(table, seed):
    return ChangingAnswer(frozenset((j, i) for i, j in perfect(table, seed).directed), frozenset(), frozenset())


def test_a_simulated_table_is_its_seed_and_has_its_truth():
    cell = ChangingCell(variables=6, rows=200, domains=8, share=0.5)
    one, two, other = simulated_table(cell, 3), simulated_table(cell, 3), simulated_table(cell, 4)
    assert np.array_equal(one.values, two.values)
    assert not np.array_equal(one.values, other.values)
    assert not cycle(one.dag)
    assert one.values.mean(0) == pytest.approx(np.zeros(6), abs=1e-12)
    assert one.values.std(0) == pytest.approx(np.ones(6))
    assert set(np.bincount(one.context.astype(int))) == {25}
    assert list(one.frame.columns) == [*(f"x{k}" for k in range(6)), "context"]
    assert simulated_table(ChangingCell(rows=100, domains=0), 0).is_time


def test_only_changing_roots_have_another_law_in_another_domain():
    spread = {True: [], False: []}
    for seed in range(30):
        table = simulated_table(ChangingCell(variables=4, rows=400, domains=4, share=0.5), seed)
        for k in np.flatnonzero(~table.dag.any(0)):
            parts = table.values[:, k].reshape(4, 100)
            spread[int(k) in table.changing].append(np.ptp(parts.mean(1)) + np.ptp(np.log(parts.std(1))))
    assert max(spread[False]) < np.median(spread[True])


def test_the_figures_of_known_answers():
    cell = ChangingCell(variables=5, rows=100, domains=4)
    found = changing_figures([cell], 3, {"true": perfect, "reversed": reversed_arrows})[cell.key]
    right = {"direction_precision": 1.0, "direction_recall": 1.0, "skeleton_f1": 1.0, "changing_f1": 1.0}
    assert {name: found["true"][name] for name in right} == right
    assert found["reversed"]["direction_precision"] == 0.0
    assert found["reversed"]["skeleton_f1"] == 1.0
    assert found["reversed"]["changing_f1"] == 0.0
    table = simulated_table(cell, 0)
    assert pooled([(table, ChangingAnswer(frozenset(), frozenset(), None))])["changing_f1"] is None


def test_every_way_answers_and_the_coin_leaves_no_edge_open():
    table = simulated_table(ChangingCell(rows=300), 1)
    by_changes, by_guess = ByChanges(QUICK)(table, 0), ByGuess(QUICK)(table, 0)
    assert by_changes.changing is not None
    assert by_guess.changing is None
    assert not by_guess.undirected
    assert by_guess == ByGuess(QUICK)(table, 0)
    assert {"cd-nod", "cd-nod, phases 1 and 2", "PC and a coin"} <= set(usual_ways())
