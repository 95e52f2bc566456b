"""Other packages' methods and the baselines on tables whose graph is easy to find."""

import importlib.util
import warnings

import numpy as np
import pytest

from intaglio.bench.discover import peers
from intaglio.bench.discover.baselines import class_of, correlation, empty, marks_of, sort_and_regress
from intaglio.bench.discover.entries import ENTRIES
from intaglio.bench.discover.worker import _reset_generators
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark
from intaglio.commands.kit.source_settings import load

COLLIDER = Graph.of("CPDAG", ("a", "b", "c", "d"), [("a", "-->", "c"), ("b", "-->", "c"), ("c", "-->", "d")])
PEERS = [entry for entry in ENTRIES if entry.role == "peer" and entry.name != "pc-0.05"]
"""But the PC that errs once in twenty tests, as it should."""


def numbers(n=2000, raw=False):
    draw = np.random.default_rng(0).laplace
    a, b = draw(size=n), draw(size=n)
    c = a + b + draw(size=n)
    values = np.stack([a, b, c, c + draw(size=n)], 1)
    return values - values.mean(0) if raw else (values - values.mean(0)) / values.std(0)


def levels(n=4000):
    rng = np.random.default_rng(0)
    a, b = rng.integers(2, size=(2, n))
    flip = rng.random((2, n))
    c = np.where(flip[0] < 0.15, rng.integers(3, size=n), a + b)
    d = np.where(flip[1] < 0.2, rng.integers(2, size=n), c > 0)
    return np.stack([a, b, c, d], 1).astype(np.float64)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_finds_a_plain_graph(peer):
    if importlib.util.find_spec(peer.needs[0]) is None:
        pytest.skip(f"{peer.needs[1]} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = load(peer.target)
        _reset_generators()  # as before each call of the bench: GRaSP and BOSS draw from the process's generators
        # DAGMA reads scales: of standardised columns it makes a graph with more edges.
        marks = run(numbers(raw=peer.process == "dagma"), False, **peer.settings)
        assert np.array_equal(marks != 0, COLLIDER.skeleton)
        if not peer.only_numbers:
            assert Graph("CPDAG", COLLIDER.names, marks) == COLLIDER
            _reset_generators()
            found = run(levels(), True, **peer.settings)
            assert Graph("CPDAG", COLLIDER.names, found) == COLLIDER


def test_causal_learn_s_codes_become_marks():
    codes = np.zeros((4, 4))
    codes[0, 1], codes[1, 0] = -1, 1  # 0 --> 1
    codes[2, 3] = codes[3, 2] = -1  # 2 --- 3
    codes[1, 2] = codes[2, 1] = 1  # 1 <-> 2
    marks = peers.marks_from_codes(codes)
    assert (marks[0, 1], marks[1, 0]) == (Mark.ARROW, Mark.TAIL)
    assert (marks[2, 3], marks[3, 2]) == (Mark.TAIL, Mark.TAIL)
    assert (marks[1, 2], marks[2, 1]) == (Mark.ARROW, Mark.ARROW)
    codes[0, 3] = 4
    with pytest.raises(ValueError, match="code 4"):
        peers.marks_from_codes(codes)


def test_marks_are_those_of_a_graph_from_the_same_adjacency():
    rng = np.random.default_rng(1)
    for _ in range(20):
        dag = np.triu(rng.random((6, 6)) < 0.4, 1)
        pattern = Graph.from_adjacency("DAG", dag).cpdag()
        assert np.array_equal(marks_of(pattern.adjacency), pattern.marks)
        assert np.array_equal(class_of(dag * rng.normal(size=(6, 6))), pattern.marks)


def test_cycles_lose_their_weakest_arrow():
    weights = np.zeros((4, 4))
    weights[0, 1], weights[1, 2], weights[2, 0], weights[3, 1] = 2.0, -3.0, 0.5, 1.0
    dag = Graph.of("DAG", ("x0", "x1", "x2", "x3"), [("x0", "-->", "x1"), ("x1", "-->", "x2"), ("x3", "-->", "x1")])
    assert np.array_equal(class_of(weights), dag.cpdag().marks)


def test_a_sorted_order_gives_raw_scales_away_but_not_even_ones():
    raw = numbers(raw=True)
    assert Graph("CPDAG", COLLIDER.names, sort_and_regress(raw, False, "variance")) == COLLIDER
    upside = raw * np.array([9.0, 8.0, 1.0, 0.1])
    assert Graph("CPDAG", COLLIDER.names, sort_and_regress(upside, False, "variance")) != COLLIDER
    by_r2 = sort_and_regress(raw, False, "r2")
    assert np.array_equal(by_r2, sort_and_regress(upside, False, "r2")), "no rescaling changes an R²"


def test_more_columns_than_rows_are_no_error():
    values = np.random.default_rng(0).standard_normal((10, 15))
    assert sort_and_regress(values, False, "r2").shape == (15, 15)


def test_correlation_joins_what_correlates_and_the_empty_graph_nothing():
    marks = correlation(numbers(), False, 0.001)
    joined = {(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)}
    assert {tuple(pair) for pair in np.argwhere(np.triu(marks == Mark.TAIL)).tolist()} == joined
    assert np.array_equal(marks, marks.T)
    assert not empty(numbers(), False).any()
