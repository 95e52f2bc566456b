"""Correlations of few rows, shrunk: the formula from definitions, its limits, and what it is for: no edges in noise."""

import numpy as np
import pandas as pd
import pytest

from intaglio import SPOT
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.methods.spot.shrinkage import shrinkage, shrunk, with_few_rows
from intaglio.causal.tables.gaussian_columns import gaussian_columns
from intaglio.causal.tables.table import Table
from linear_admgs import VERMA, rows_of

QUICK = SPOT(restarts=2, searched=1, steps=10, stages=3, sweeps=3, half_samples=0)


def drawn(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def told(values: np.ndarray, rows: int) -> float:
    return shrinkage(np.corrcoef(values.T).reshape(values.shape[1], -1), rows)


def test_it_is_the_variance_of_the_correlations_over_their_squares():
    """By loops over pairs; 9 of 12 rows count."""
    values = drawn(12, 4, 1) + drawn(12, 1, 2)
    above = below = 0.0
    for i in range(4):
        for j in range(i):
            r = np.corrcoef(values[:, i], values[:, j])[0, 1]
            above += (1 - r**2) ** 2 / 8
            below += r**2
    assert 0 < above / below < 1
    assert told(values, 9) == pytest.approx(above / below)
    assert told(values * [1e-3, -7, 1, 1e5] + 3, 9) == pytest.approx(above / below)


def test_it_takes_off_about_what_errs_least():
    """Over many tables of one law, no share of all correlations errs much less than those that each table is told."""
    random = np.random.default_rng(0)
    mixing = random.standard_normal((8, 8)) + 2 * np.eye(8)
    covariance = mixing @ mixing.T
    truth = covariance / np.sqrt(np.outer(covariance.diagonal(), covariance.diagonal()))
    tables = [random.standard_normal((16, 8)) @ mixing.T for _ in range(300)]
    errors = {share: [] for share in (*np.linspace(0, 1, 11), None)}
    for table in tables:
        sample = np.corrcoef(table.T)
        for share, found in errors.items():
            found.append(((shrunk(sample, told(table, 16) if share is None else share) - truth) ** 2).sum())
    reached = np.mean(errors.pop(None))
    means = {share: np.mean(found) for share, found in errors.items()}
    assert reached < means[0.0]
    assert reached < 1.1 * min(means.values())


def test_noise_loses_most_of_its_correlations_and_enough_rows_none():
    assert told(drawn(20, 20), 20) > 0.6
    assert told(drawn(10, 20), 10) > 0.6
    assert told(drawn(100, 20), 100) == 0
    assert told(drawn(99, 20), 99) > 0
    assert told(drawn(2, 1), 2) == 0
    common = drawn(20, 1) + 0.1 * drawn(20, 20, 1)
    assert told(common, 20) < 0.1


def test_no_correlation_at_all_is_shrunk_whole():
    assert told(np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]), 4) == 1


def test_variances_stay_and_the_covariance_is_positive_definite():
    values = drawn(10, 20)
    columns = gaussian_columns(Table.from_frame(pd.DataFrame(values).rename(columns=str)), standardise=True)
    made, share = with_few_rows(columns), shrinkage(columns.covariance, 10)
    off = ~np.eye(20, dtype=bool)
    assert np.array_equal(made.covariance.diagonal(), columns.covariance.diagonal())
    assert np.allclose(made.covariance[off], (1 - share) * columns.covariance[off])
    assert np.linalg.eigvalsh(made.covariance)[0] > 0.5 * share
    assert "10 rows are few for 20 columns" in made.warnings[-1]
    assert "give 100 rows" in made.warnings[-1]
    assert np.array_equal(shrunk(columns.covariance, 0.0), columns.covariance)


@pytest.mark.parametrize("d", [10, 20], ids=["as many rows as columns", "half as many rows as columns"])
def test_few_rows_of_noise_have_no_edge_that_the_posterior_is_against(d):
    table = pd.DataFrame(drawn(10, d), columns=list("abcdefghijklmnopqrst")[:d])
    made = QUICK(table)
    assert not (made.graph.skeleton & (made.adjacent < 0.5)).any()
    assert any(f"rows are few for {d} columns" in warning for warning in made.warnings)


def test_the_unit_of_a_column_has_no_part_in_it():
    values = drawn(12, 4, 1) + drawn(12, 1, 2)
    shares = []
    for unit in (1.0, 1e200, 1e-200):
        columns = gaussian_columns(
            Table.from_frame(pd.DataFrame(values * unit, columns=list("abcd"))), standardise=True
        )
        made = with_few_rows(columns)
        shares.append(made.covariance[0, 1] / columns.covariance[0, 1])
    assert 0.1 < shares[0] < 0.99
    assert shares[1:] == pytest.approx([shares[0]] * 2)


def test_enough_rows_are_searched_as_before():
    table = rows_of(ADMG.of("abcd", VERMA), 200)
    made = QUICK(table)
    assert not any("rows are few" in warning for warning in made.warnings)
