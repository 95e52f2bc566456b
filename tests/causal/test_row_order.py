"""The input of a network does not depend on the order of a table's rows or on the units of its numbers."""

import numpy as np
import pandas as pd
import pytest
import torch

from intaglio import SiCL
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.methods.sicl import evidence, predict
from intaglio.causal.methods.sicl.networks import encoding, inference
from intaglio.causal.methods.sicl.networks.encoding import BINARY, CONTINUOUS, NOMINAL, ORDINAL
from intaglio.causal.methods.sicl.networks.weights import load_network
from intaglio.causal.methods.sicl.predict import predict_graph
from intaglio.causal.tables.assumptions import ExaminedTable
from intaglio.causal.tables.table import Table


def line(rows=120, columns=3, seed=0):
    x = np.random.default_rng(seed).standard_normal((rows, columns))
    x[:, 1] += x[:, 0]
    return x


def balanced():
    """Three binary columns: the first two have as many ones, and go with the third in different ways."""
    counts = {(1, 0, 0): 20, (0, 1, 0): 10, (1, 0, 1): 10, (0, 1, 1): 20, (0, 0, 0): 13, (1, 1, 1): 7}
    return np.array([row for row, count in counts.items() for _ in range(count)], np.float64)


def test_rows_of_a_balanced_design_have_one_order():
    x, kinds = balanced(), np.full(3, BINARY)
    once = inference.canonical_table(x, kinds)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        rows, columns = rng.permutation(len(x)), rng.permutation(3)
        again = inference.canonical_table(x[rows][:, columns], kinds)
        assert np.array_equal(again, once[:, columns])
    assert sorted(map(tuple, once)) == sorted(map(tuple, x))


def test_a_column_of_which_nothing_is_known_is_left_as_it_is():
    x = line(40)
    x[:, 2] = np.nan
    kinds = np.array([CONTINUOUS, CONTINUOUS, ORDINAL])
    assert np.isnan(inference.canonical_table(x, kinds)[:, 2]).all()
    assert np.isnan(inference.scaled_by_powers_of_two(x, np.full(3, CONTINUOUS))[:, 2]).all()


def test_own_units_are_exact_powers_of_two():
    x = np.c_[line(30) * [1e300, 1e-300, 1.0], np.arange(30.0), np.full(30, 9.81)]
    x[3, 2] = np.nan
    found = inference.scaled_by_powers_of_two(x, np.array([CONTINUOUS, CONTINUOUS, CONTINUOUS, NOMINAL, CONTINUOUS]))
    for k in range(3):
        ratio = (found[:, k] / x[:, k])[~np.isnan(x[:, k])]
        assert np.ptp(found[~np.isnan(found[:, k]), k]) == pytest.approx(2, rel=0.51)
        assert np.unique(ratio).size == 1 or np.allclose(ratio, ratio[0])
    assert np.array_equal(found[:, 3], x[:, 3])
    assert not found[:, 4].any()
    assert np.isnan(found[3, 2])
    assert x[0, 4] == 9.81


@pytest.mark.parametrize("unit", [1e300, 1e160, 1e-14, 1e-19, 1e-300])
def test_no_unit_is_too_large_or_too_small(unit):
    usual, other = (SiCL(refine=0.5)(one) for one in (line(), line() * unit))
    assert np.allclose(usual.adjacent, other.adjacent, atol=1e-6)
    assert usual.graph == other.graph
    assert usual.ood_score == other.ood_score


def test_subsamples_may_lose_a_column():
    frame = pd.DataFrame(line(), columns=list("abc"))
    frame.loc[3:, "a"] = np.nan
    frame["spike"] = np.where(np.arange(120) == 5, 3.7, 0.0)
    frame["rare"] = np.where(np.arange(120) == 7, "yes", "no")
    found = SiCL(subsamples=8, refine=0.5)(frame)
    assert np.isfinite(found.spread).all()
    assert np.isfinite(found.frequencies).all()


def test_only_the_rows_that_are_shown_are_made_into_cells(monkeypatch):
    made = []
    real = encoding.encode
    monkeypatch.setattr(inference, "encode", lambda *args, **options: made.append(real(*args, **options)) or made[-1])
    network = load_network("light")
    x = line(2000)
    inference.logits_of(network.network, x[None], np.full((1, 3), CONTINUOUS), 48)
    assert made[0].cells.shape == (1, 4 * 48, 3, 4)
    assert made[0].size[0, 0].item() == pytest.approx(np.log10(2000))
    inference.logits_of(network.network, x[None, :20], np.full((1, 3), CONTINUOUS), 48)
    assert made[1].cells.shape == (1, 20, 3, 4)


def test_the_rows_of_a_long_table_that_are_scored_do_not_hang_on_their_order(monkeypatch):
    scored = []
    real = evidence.score_of
    monkeypatch.setattr(evidence, "score_of", lambda values, levels: scored.append(values) or real(values, levels))
    monkeypatch.setattr(evidence, "MAX_SCORED_ROWS", 60)
    rng = np.random.default_rng(0)
    values = np.c_[line(200, 2), rng.integers(3, size=200)]
    # Sorted, so that its first rows are no sample of it.
    values = values[np.argsort(values[:, 0])]
    kinds = ("continuous", "continuous", "nominal")
    options = {"threshold": 0.5, "collider_threshold": 0.5, "refine": 0.5, "knowledge": Knowledge()}
    for order in (np.arange(200), rng.permutation(200)):
        predict_graph(
            load_network("light"),
            ExaminedTable(Table(("a", "b", "c"), kinds, values[order], ((), (), tuple("xyz")))),
            **options,
        )
    assert len(scored[0]) == 60
    assert np.array_equal(*scored)


def test_a_bend_in_a_long_table_is_looked_for_in_rows_of_any_order(monkeypatch):
    seen = []
    monkeypatch.setattr(predict, "MAX_TESTED_ROWS", 50)
    monkeypatch.setattr(
        predict, "score_regime_key", lambda values, kinds, dag: seen.append(values) or "linear, many rows"
    )
    x = line()
    for one in (x, x[::-1]):
        predict_graph(
            load_network("light"),
            ExaminedTable(Table(tuple("abc"), ("continuous",) * 3, one.copy(), ((),) * 3)),
            threshold=0.5,
            collider_threshold=0.5,
            refine="auto",
            knowledge=Knowledge(),
        )
    assert np.array_equal(*seen)


def test_few_rows_are_said_to_be_no_subsamples():
    assert any("too few for subsamples" in told for told in SiCL(subsamples=2)(line(40)).warnings)
    assert not any("subsamples" in told for told in SiCL(subsamples=2)(line(60)).warnings)
    assert not any("subsamples" in told for told in SiCL()(line(40)).warnings)


def test_every_kind_and_gap_encodes_to_finite_numbers():
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(30, size=50), rng.integers(16, size=50), np.zeros(50), np.full(50, np.nan)], 1)
    x = np.c_[x, np.full(50, 0.1), np.full(50, np.nan)].astype(np.float64)
    kinds = torch.tensor([[ORDINAL, NOMINAL, BINARY, NOMINAL, CONTINUOUS, CONTINUOUS]])
    made = encoding.encode(torch.from_numpy(x)[None], kinds)
    for values in (made.cells, made.pairs, made.triples):
        assert bool(values.isfinite().all())
    assert made.slots.max() == 15
    logits = inference.logits_of(load_network("light").network, x[None], kinds.numpy(), 48)[0]
    assert np.isfinite(logits.skeleton).all()


def test_ties_fall_by_keys_that_know_no_unit_sign_or_order_of_rows():
    frame = pd.DataFrame(line(60), columns=list("abc")).assign(d=np.tile(["x", "y", "x"], 20))
    frame.loc[4, "b"] = np.nan
    keys = evidence.column_keys(Table.from_frame(frame))
    assert len(set(keys)) == 4
    for other in (
        frame.sample(frac=1, random_state=0),
        frame.assign(a=-3.7e5 * frame["a"] + 1, b=0.1 * frame["b"]),
        frame.replace({"d": {"x": "q"}}),
    ):
        assert evidence.column_keys(Table.from_frame(other)) == keys
