"""Gap filling: the law of the whole table comes back where another column decides which cells are missing."""

import numpy as np
import pytest
from scipy.special import expit

from assumption_tables import harvest
from intaglio.causal.tables.gap_filling import filled_tables

NUMBERS = ("continuous",) * 5


def good_harvests() -> tuple[np.ndarray, np.ndarray]:
    """The whole table, and that with soil and light unknown where the crop was good."""
    whole = harvest()
    with_gaps = whole.copy()
    with_gaps[np.ix_(whole[:, 4] > 0.5, [0, 1])] = np.nan
    return whole, with_gaps


def test_correlations_of_the_whole_table_come_back():
    """Causes of one effect depend on each other in the rows that it chose, and not in the table."""
    whole, with_gaps = good_harvests()
    left = with_gaps[~np.isnan(with_gaps[:, 0])]
    assert abs(np.corrcoef(left.T) - np.corrcoef(whole.T)).max() > 0.2
    for filled in filled_tables(with_gaps, NUMBERS, [0, 1], draws=2, seed=0):
        assert abs(np.corrcoef(filled.T) - np.corrcoef(whole.T)).max() < 0.05
        assert abs(filled.std(0) - whole.std(0)).max() < 0.06


def test_known_cells_and_other_gaps_stay():
    _, with_gaps = good_harvests()
    with_gaps[::7, 3] = np.nan
    (filled,) = filled_tables(with_gaps, NUMBERS, [0, 1], draws=1, seed=0)
    known = ~np.isnan(with_gaps)
    assert np.array_equal(filled[known], with_gaps[known])
    assert not np.isnan(filled[:, :3]).any()
    assert np.array_equal(np.isnan(filled[:, 3]), np.isnan(with_gaps[:, 3]))


def test_a_curve_is_drawn_as_one():
    """y = x² + noise, missing where x is high: a line through the rest would fall there."""
    random = np.random.default_rng(3)
    x = random.standard_normal(2000)
    whole = np.stack([x, x**2 + 0.3 * random.standard_normal(2000)], 1)
    with_gaps = np.where((x > 0.3)[:, None] & [False, True], np.nan, whole)
    (filled,) = filled_tables(with_gaps, NUMBERS[:2], [1], draws=1, seed=0)
    assert abs(filled[x > 0.3, 1].mean() - whole[x > 0.3, 1].mean()) < 0.15


@pytest.mark.parametrize("kind", ["binary", "ordinal", "nominal"])
def test_levels_follow_their_probabilities(kind):
    """P(level | x) = expit(2 x); a level is missing where x is high, where it is nearly always 1."""
    random = np.random.default_rng(4)
    x = random.standard_normal(4000)
    level = (random.random(4000) < expit(2 * x)) * 1.0
    with_gaps = np.stack([x, np.where(x > 0.5, np.nan, level)], 1)
    (filled,) = filled_tables(with_gaps, ("continuous", kind), [1], draws=1, seed=0)
    drawn = filled[x > 0.5, 1]
    assert set(np.unique(drawn)) <= {0.0, 1.0}
    assert abs(drawn.mean() - expit(2 * x[x > 0.5]).mean()) < 0.05
    assert drawn.mean() > level[x <= 0.5].mean() + 0.3


def test_draws_differ_and_depend_on_the_seed_alone():
    _, with_gaps = good_harvests()
    one, two = filled_tables(with_gaps, NUMBERS, [0, 1], draws=2, seed=0)
    again, _ = filled_tables(with_gaps, NUMBERS, [0, 1], draws=2, seed=0)
    other, _ = filled_tables(with_gaps, NUMBERS, [0, 1], draws=2, seed=1)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_units_and_signs_turn_the_draws_with_them():
    _, with_gaps = good_harvests()
    by = np.array([-3.0, 100.0, 1.0, -0.01, 2.0])
    (one,), (two,) = (filled_tables(values, NUMBERS, [0, 1], draws=1, seed=0) for values in (with_gaps, with_gaps * by))
    assert np.allclose(one * by, two)


def test_rows_without_any_other_column_are_drawn_from_the_column_itself():
    """All columns lack the same rows: there is nothing to draw them from but the other rows."""
    whole = harvest(rows=400)[:, :2]
    with_gaps = whole.copy()
    with_gaps[:100] = np.nan
    (filled,) = filled_tables(with_gaps, NUMBERS[:2], [0, 1], draws=1, seed=0)
    assert np.isfinite(filled).all()
    assert abs(filled[:100].mean(0) - whole[100:].mean(0)).max() < 0.4


def test_columns_with_the_same_gaps_keep_what_they_share_beyond_the_others():
    """Two columns that are missing together have correlated residuals, which no third column tells."""
    random = np.random.default_rng(0)
    known, shared = random.standard_normal(4000), random.standard_normal(4000)
    whole = np.stack([known, known + shared, shared + 0.3 * random.standard_normal(4000)], 1)
    missing = known > 0
    with_gaps = whole.copy()
    with_gaps[np.ix_(missing, [1, 2])] = np.nan
    (filled,) = filled_tables(with_gaps, NUMBERS[:3], [1, 2], draws=1, seed=0)
    rest = filled[missing, 1] - filled[missing, 0]
    assert np.corrcoef(rest, filled[missing, 2])[0, 1] == pytest.approx(1 / np.sqrt(1.09), abs=0.05)
