"""Trends over the rows: planted ones are found and taken out, what lies beneath them is found, others are let be."""

import numpy as np
import pandas as pd
import pytest

from assumption_tables import in_time, independent
from intaglio import SiCL
from intaglio.causal.tables.assumptions import DEPENDENT_ROWS, TREND, examine
from intaglio.causal.tables.row_dependence import row_dependence
from intaglio.causal.tables.row_trend import row_trend
from intaglio.causal.tables.table import Table

N, SIZES = 1200, np.array([0.8, -1.0, 1.5, 2.0, -0.7, 1.2, 3.0])
TIME = np.arange(N) / N
SHAPES = {"a line": TIME, "a slow sine": np.sin(4 * np.pi * TIME), "a step": 1.0 * (TIME > 0.4)}


def trending(shape: str, seed: int = 0, *, effect: float = 0.0) -> np.ndarray:
    """Seven independent columns, but for an effect of the first on the second, and one trend in all."""
    noise = np.random.default_rng(seed).standard_normal((N, 7))
    noise[:, 1] += effect * noise[:, 0]
    trend = SHAPES[shape]
    return noise + SIZES * ((trend - trend.mean()) / trend.std())[:, None]


def numbers(columns: int) -> tuple:
    return ("continuous",) * columns


@pytest.mark.parametrize("shape", SHAPES)
def test_a_trend_in_all_columns_is_taken_out(shape):
    values = trending(shape)
    found = row_trend(values, numbers(7))
    assert found is not None
    assert found.taken_out == tuple(range(7))
    upper = np.triu_indices(7, 1)
    assert np.abs(np.corrcoef(values.T)[upper]).min() > 0.3
    assert np.abs(np.corrcoef(found.values.T)[upper]).max() < 4.5 / np.sqrt(N)
    expected = SIZES**2 / (1 + SIZES**2)
    shares = np.array([found.shares[found.columns.index(k)] for k in range(7)])
    assert np.abs(shares - expected).max() < (0.25 if shape == "a step" else 0.08), "a smooth function rounds a step"


def test_what_is_left_is_the_regression_on_a_line_in_each_block():
    """By least squares on the known rows of each block, apart from the code."""
    values = trending("a slow sine")
    values[::7, 2] = np.nan
    found = row_trend(values, numbers(7))
    assert found is not None
    sizes = np.bincount(found.blocks)
    assert (sizes.min(), sizes.max()) == (35, 36), "about √1200"
    for k in (0, 2):
        for block in range(len(sizes)):
            rows = np.flatnonzero((found.blocks == block) & ~np.isnan(values[:, k]))
            design = np.stack([np.ones(len(rows)), rows], 1)
            weights = np.linalg.lstsq(design, values[rows, k], rcond=None)[0]
            assert np.allclose(found.values[rows, k], values[rows, k] - design @ weights, atol=1e-8)
    assert np.array_equal(np.isnan(found.values), np.isnan(values))


@pytest.mark.parametrize("shape", SHAPES)
def test_an_effect_beneath_a_trend_is_found_and_no_more(shape):
    found = SiCL()(trending(shape, effect=0.8))
    assert {frozenset((edge.source, edge.target)) for edge in found.edges} == {frozenset(("x0", "x1"))}
    told = next(text for text in found.warnings if "order of rows" in text)
    assert "of 'x6', " in told
    assert "and 2 more as a smooth trend" in told
    assert told.endswith("the answer takes the trend out of 7 columns")
    assert found.rows == N


def test_levels_are_freed_of_their_trends_too():
    values = trending("a line", effect=1.5)
    cut = {f"x{k}": np.digitize(values[:, k], np.quantile(values[:, k], [0.3, 0.6])) for k in range(0, 7, 3)}
    examined = examine(Table.from_frame(pd.DataFrame(values, columns=[f"x{k}" for k in range(7)]).assign(**cut)))
    assert [one.reason for one in examined.broken] == [TREND]
    assert examined.table.kinds == numbers(7)
    assert examined.table.levels == ((),) * 7
    correlation = np.abs(np.corrcoef(examined.table.values.T))
    assert correlation[0, 1] > 0.3
    correlation[0, 1] = correlation[1, 0] = 0
    assert correlation[np.triu_indices(7, 1)].max() < 4.5 / np.sqrt(N)


def test_shuffled_rows_have_no_trend_and_one_answer():
    values = np.random.default_rng(1).permutation(trending("a line"))
    table = Table.from_frame(values)
    assert row_trend(values, numbers(7)) is None
    assert examine(table).table is table


def test_one_column_alone_and_columns_beside_the_time_keep_their_trends():
    alone = np.random.default_rng(0).standard_normal((N, 4))
    alone[:, 1] += 5 * TIME
    assert row_trend(alone, numbers(4)) is None
    year = np.floor(20 * TIME)
    assert row_trend(np.column_stack([year, trending("a line")]), numbers(8)) is None
    assert row_trend(np.column_stack([np.where(TIME < 0.9, year, np.nan), trending("a line")]), numbers(8)) is None
    label = np.array([2.0, 0.0, 1.0])[(3 * TIME).astype(int)]
    assert row_trend(np.column_stack([trending("a line"), label]), (*numbers(7), "nominal")) is None


def test_effects_of_what_the_table_is_sorted_by_are_no_trends():
    values = trending("a line", effect=0.8)[:, :2] - trending("a line")[:, :2] * [0, 1] + SIZES[:2]
    values = values[np.argsort(values[:, 0])]
    assert row_trend(values, numbers(2)) is None


def test_series_without_a_trend_are_let_be():
    """Power at low frequencies is compared to that at the next ones, which a series that leans by 0.9 has as much."""
    found = [row_trend(in_time(rho, seed, rows=N), numbers(8)) for rho in (0.5, 0.9) for seed in range(5)]
    assert found == [None] * 10


def test_independent_tables_have_no_trend():
    tables = [independent(seed, rows, gaps=seed % 2 == 1) for rows in (40, 100, 300) for seed in range(20)]
    assert all(row_trend(values, kinds) is None for values, kinds in tables)


def test_what_is_left_of_a_trend_is_not_found_dependent_for_lack_of_it():
    """Lines that were taken out make neighbours correlate negatively, which the test within blocks accounts for."""
    random = np.random.default_rng(2)
    values = random.standard_normal((20_000, 6)) + 2 * np.linspace(0, 1, 20_000)[:, None]
    found = row_trend(values, numbers(6))
    assert found is not None
    assert row_dependence(found.values, numbers(6), found.blocks) is None


def test_what_depends_on_its_neighbours_beneath_a_trend_counts_as_fewer_rows():
    """The line that is taken out of each block takes dependence with it, unless rows are compared within blocks."""
    random = np.random.default_rng(0)
    series, shocks = np.zeros((400, 6)), random.standard_normal((400, 6))
    for row in range(1, 400):
        series[row] = 0.3 * series[row - 1] + shocks[row]
    examined = examine(Table.from_frame(series + 5 * np.linspace(0, 1, 400)[:, None]))
    assert {one.reason for one in examined.broken} >= {TREND, DEPENDENT_ROWS}
    assert examined.rows_that_count < 399


def test_a_column_that_is_a_time_itself_keeps_it():
    values = np.concatenate([trending("a line")[:, :5], np.cos(4 * np.pi * TIME)[:, None]], 1)
    found = row_trend(values, numbers(6))
    assert found is not None
    assert found.taken_out == tuple(range(5))
    assert np.array_equal(found.values[:, 5], values[:, 5])


def test_a_trend_is_sought_in_all_rows_of_a_long_table():
    rows = np.arange(40_000)
    late = np.random.default_rng(1).standard_normal((40_000, 4)) + 2 * (rows > 24_000)[:, None]
    assert row_trend(late, numbers(4)) is not None


def test_one_strong_trend_beside_a_faint_one_is_no_common_cause():
    values = np.random.default_rng(4).standard_normal((3000, 4))
    values[:, 0] += 4 * np.arange(3000) / 3000
    values[:, 1] += 0.5 * np.arange(3000) / 3000
    assert row_trend(values, numbers(4)) is None
