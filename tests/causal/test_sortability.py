import numpy as np
import pytest

from intaglio.causal.simulate.sortability import alignment, r2, r2_sortability, varsortability
from small_graphs import random_dag


def walks(dag: np.ndarray, length: int) -> set[tuple[int, int]]:
    """Pairs joined by a directed path of that many arrows, one path after another."""
    found = {(i, i) for i in range(len(dag))}
    for _ in range(length):
        found = {(i, int(k)) for i, j in found for k in np.flatnonzero(dag[j])}
    return found


def naive(dag: np.ndarray, values: np.ndarray) -> float:
    right, total = 0.0, 0
    for length in range(1, len(dag)):
        for i, j in walks(dag, length):
            total += 1
            right += 1.0 if values[i] < values[j] else 0.5 if values[i] == values[j] else 0.0
    return right / total if total else float("nan")


def test_alignment_is_what_counting_paths_gives():
    random = np.random.default_rng(0)
    for d in (2, 3, 5, 9):
        dags = np.stack([random_dag(random, d, random.random()) for _ in range(40)])
        values = random.integers(0, 4, (40, d)).astype(float)
        expected = [naive(dag, row) for dag, row in zip(dags, values, strict=True)]
        assert alignment(dags, values) == pytest.approx(expected, nan_ok=True)


def test_varsortability_is_1_where_variance_grows_and_half_where_all_agree():
    chain = np.eye(4, k=1, dtype=bool)[None]
    table = np.random.default_rng(1).normal(size=(1, 500, 4)) * [1.0, 2.0, 4.0, 8.0]
    assert varsortability(chain, table)[0] == 1
    assert varsortability(chain, table[:, :, ::-1])[0] == 0
    assert varsortability(chain, table / table.std(1, keepdims=True))[0] == 0.5
    assert np.isnan(varsortability(np.zeros((1, 4, 4), bool), table)[0])


def test_r2_is_that_of_a_regression_on_all_others():
    random = np.random.default_rng(2)
    table = random.normal(size=(3, 60, 5)) @ random.normal(size=(3, 5, 5)) + 7
    expected = np.empty((3, 5))
    for k in range(3):
        for j in range(5):
            x = np.column_stack([np.ones(60), np.delete(table[k], j, 1)])
            rest = table[k][:, j] - x @ np.linalg.lstsq(x, table[k][:, j], rcond=None)[0]
            expected[k, j] = 1 - rest.var() / table[k][:, j].var()
    assert r2(table) == pytest.approx(expected, abs=1e-8)
    assert r2(table * 1000.0) == pytest.approx(expected, abs=1e-8)
    chain = np.repeat(np.eye(5, k=1, dtype=bool)[None], 3, 0)
    assert r2_sortability(chain, table) == pytest.approx([naive(chain[k], expected[k]) for k in range(3)])


def test_r2_of_copies_is_1_and_of_a_constant_unknown():
    column = np.random.default_rng(3).normal(size=200)
    table = np.stack([column, column, np.ones(200), np.random.default_rng(4).normal(size=200)], 1)[None]
    found = r2(table)[0]
    assert found[:2] == pytest.approx([1, 1], abs=1e-6)
    assert np.isnan(found[2])
    assert found[3] < 0.1
