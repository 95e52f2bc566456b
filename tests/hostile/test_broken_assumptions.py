"""Tables that contradict what a search assumes: the cause, the columns and the remedy are said; others stay silent."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from assumption_tables import alarms, counted, harvest, in_time, independent, simulated
from intaglio import SiCL
from intaglio.causal.tables import row_dependence as module
from intaglio.causal.tables.assumptions import broken_assumptions
from intaglio.causal.tables.common_factor import common_factor, robust_loadings
from intaglio.causal.tables.gap_dependence import gap_dependences
from intaglio.causal.tables.normal_scores import mean_ranks
from intaglio.causal.tables.repeated_rows import repeated_rows
from intaglio.causal.tables.row_dependence import row_dependence, sort_keys
from intaglio.causal.tables.table import Table

N = 600


def numbers(columns: int) -> tuple:
    return ("continuous",) * columns


def normal(seed: int = 0, rows: int = N, columns: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns))


# Rows that depend on those before

GROUPS = np.repeat(np.arange(20), 30)
DEPENDENT_ROWS = {
    "leaning by 0.7": in_time(0.7),
    "leaning by 0.3": in_time(0.3),
    "leaning by -0.7": in_time(-0.7),
    "random walks": in_time(1.0),
    "as levels in an order": np.clip(np.round(in_time(0.8)), -2, 2) + 2,
    "a trend in all": normal() + np.arange(N)[:, None] / 200,
    "groups without a label": normal() + normal(1, 20)[GROUPS] * 0.5,
    "twins": normal() + np.repeat(normal(1, N // 2), 2, 0),
    "months": normal() + np.sin(2 * np.pi * np.arange(N) / 12)[:, None] * np.array([1, 1, -1, 1, 0.5]),
    "weekdays": normal() + normal(3, 7)[np.arange(N) % 7],
    "sensors by turns": in_time(0.8, rows=101, columns=40).reshape(-1, 5)[:500],
    "gaps": np.where(normal(4, 599, 8) < -0.6, np.nan, in_time(0.7)),
    "fifty rows": in_time(0.8, rows=51),
    "beside the time": np.column_stack([np.arange(599) / 7, in_time(0.7, columns=1), normal(5, 599, 3)]),
    "sorted by a class that was left out": normal(6, 150) + 2 * normal(7, 3)[np.repeat(np.arange(3), 50)],
}


@pytest.mark.parametrize("name", DEPENDENT_ROWS)
def test_rows_that_depend_on_those_before_are_counted(name):
    values = DEPENDENT_ROWS[name]
    found = row_dependence(values, ("ordinal" if "levels" in name else "continuous",) * values.shape[1])
    assert found is not None
    assert found.effective_rows < 0.91 * found.rows == 0.91 * len(values)


INDEPENDENT_ROWS = {
    "sorted": normal()[np.argsort(normal()[:, 0])],
    "sorted downwards": normal()[np.argsort(-normal()[:, 0])],
    "one series among others": np.column_stack([in_time(0.9, columns=1), normal(1, 599)]),
    "all depend on what they are sorted by": np.sort(normal()[:, :1], 0) ** [1, 3, 1, 3, 1]
    + 0.3 * normal(1) * [0, 1, 1, 1, 1],
    "trends beside the year": np.column_stack([np.arange(N) // 10, normal() + np.arange(N)[:, None] / 200]),
    "groups beside their label": np.column_stack([GROUPS * 1.5, normal() + normal(1, 20)[GROUPS]]),
    "too few to say": in_time(0.8, rows=31),
}


@pytest.mark.parametrize("name", INDEPENDENT_ROWS)
def test_a_sorted_table_has_independent_rows(name):
    values = INDEPENDENT_ROWS[name]
    assert row_dependence(values, numbers(values.shape[1])) is None


def test_the_level_is_kept_in_a_table_that_is_sorted():
    """Taking a line out of each stretch makes neighbours correlate negatively, which the test accounts for."""
    values = normal(rows=20_000, columns=12)
    values = values[np.argsort(values[:, 0])]
    keys, stretches = sort_keys(values, numbers(12))
    scores = module._detrended(values[:, 1:], stretches)
    assert keys == [0]
    assert 0.01 < (module._p_values(scores, stretches) < 0.05).mean() < 0.12


def test_keys_are_found_one_within_the_other():
    first, second = np.repeat([2.0, 0.0, 1.0], 40), np.tile(np.repeat([0.1, 0.7, 1.3, 5.0], 10), 3)
    values = np.column_stack([normal(rows=120, columns=1), second, first])
    keys, stretches = sort_keys(values, ("continuous", "continuous", "nominal"))
    assert keys == [2, 1]
    assert np.bincount(stretches).min() >= 16
    assert (np.diff(stretches) >= 0).all()
    assert all(len(set(first[stretches == k])) == 1 for k in range(stretches.max() + 1)), "no stretch spans two classes"


def test_the_rows_that_count_follow_bartlett():
    """For two series that lean by ρ the variance of their correlation is (1 + ρ²) / (1 - ρ²) over n."""
    found = row_dependence(in_time(0.7, rows=6001), numbers(8))
    assert found.effective_rows == pytest.approx(6000 * (1 - 0.49) / (1 + 0.49), rel=0.08)
    assert (found.lag, found.rows) == (1, 6000)
    assert max(abs(np.array(found.correlations) - 0.7)) < 0.05


# Gaps


def hidden(values: np.ndarray, rows: np.ndarray, *columns: int) -> np.ndarray:
    found = values.copy()
    found[np.ix_(np.flatnonzero(rows), columns)] = np.nan
    return found


CROP = harvest()[:, 4]
CHANCE = np.random.default_rng(9).random(len(CROP))
CHOSEN_GAPS = {
    "where the harvest was good": (hidden(harvest(), CROP > 0.5, 0, 1), (0, 1), True),
    "where it was bad": (hidden(harvest(), CROP < -1, 0), (0,), False),
    "more often where it was good": (hidden(harvest(), expit(CROP - 1) > CHANCE, 0, 1), (0, 1), True),
    "where it was unusual": (hidden(harvest(), abs(CROP) > 2, 1), (1,), None),
    "in the best two in a hundred": (hidden(harvest(), np.quantile(CROP, 0.98) < CROP, 0), (0,), True),
    "in some of the good ones": (hidden(harvest(), (CROP > 0.5) & (CHANCE < 0.3), 0), (0,), True),
    "of sixty": (hidden(harvest(rows=60), harvest(rows=60)[:, 4] > 0.5, 0, 1), (0, 1), True),
}


@pytest.mark.parametrize("name", CHOSEN_GAPS)
def test_gaps_that_hang_on_another_column_name_both(name):
    values, missing, higher = CHOSEN_GAPS[name]
    found = gap_dependences(values, numbers(5))
    assert [(gap.missing, gap.on, gap.higher) for gap in found] == [(missing, 4, higher)]


@pytest.mark.parametrize("kind", ["ordinal", "nominal"])
def test_gaps_that_hang_on_levels_are_seen(kind):
    values = harvest()
    values[:, 4] = np.digitize(values[:, 4], [-1, 0.5, 2])
    found = gap_dependences(hidden(values, values[:, 4] > 1, 0), (*numbers(4), kind))
    assert [(gap.missing, gap.on) for gap in found] == [((0,), 4)]


def test_gaps_at_random_and_whole_blocks_are_let_be():
    assert gap_dependences(np.where(normal(1, 3000) > 1, np.nan, harvest()), numbers(5)) == []
    assert gap_dependences(hidden(harvest(), CHANCE < 0.3, 0, 1, 2), numbers(5)) == []


# Common factors

FACTOR = normal(8, 1000, 1)
SHARED = {
    "depth of counts": counted(0.15),
    "large depth, six columns": counted(0.3, columns=6),
    "loadings of both signs": normal(1, 1000, 10) + FACTOR * normal(2, 1, 10),
    "a batch": normal(1, 1000, 8) + (FACTOR > 0) * np.array([1, -1.2, 0.8, 1, 1, -1, 0.9, 1.1]),
    "half of the columns": normal(3, 1000, 12) + 0.6 * FACTOR * (np.arange(12) < 6),
    "as levels in an order": np.digitize(normal(1, 1000, 8) + FACTOR, [-1, 0, 1]).astype(float),
    "volatility": normal(1, 1000, 8) * np.exp(0.5 * FACTOR),
}


@pytest.mark.parametrize("name", SHARED)
def test_a_factor_through_many_columns_is_seen(name):
    values = SHARED[name]
    found = common_factor(values, ("ordinal" if "levels" in name else "continuous",) * values.shape[1])
    assert found is not None
    assert len(found.columns) >= values.shape[1] / 2
    assert found.of == ("spread" if name == "volatility" else "values")
    assert found.one_sign or name in ("loadings of both signs", "a batch")


def test_a_cause_in_the_table_is_no_hidden_one():
    root = normal(1, 1000, 1)
    for leaves in (root + normal(2, 1000, 8), root**2 + normal(2, 1000, 8), np.sin(2 * root) + normal(2, 1000, 8)):
        assert common_factor(np.concatenate([root, leaves], 1), numbers(9)) is None
    chain = np.cumsum(normal(3, 1000, 8), 1)
    assert common_factor(chain, numbers(8)) is None
    assert common_factor(counted(0.0), numbers(12)) is None


def test_loadings_are_those_of_a_factor_whatever_a_few_pairs_do():
    true = np.linspace(0.3, 0.6, 10)
    correlation = np.outer(true, true)
    correlation[0, 1] = correlation[1, 0] = 0.9
    np.fill_diagonal(correlation, 1.0)
    found = robust_loadings(correlation, np.full((10, 10), 1000.0))
    assert abs(np.abs(found) - true).max() < 0.05


# Repeated rows


def test_rows_that_repeat_others_are_counted():
    assert repeated_rows(np.repeat(normal(), 3, 0), numbers(5)) == repeated_rows(np.tile(normal(), (3, 1)), numbers(5))
    assert repeated_rows(np.tile(normal(), (3, 1)), numbers(5)).distinct == N
    drawn = normal()[np.random.default_rng(0).integers(N, size=N)]
    assert repeated_rows(np.round(drawn, 2), numbers(5)).distinct == len(np.unique(drawn, axis=0))
    assert repeated_rows(normal(), numbers(5)) is None
    assert repeated_rows(np.round(normal(columns=2), 1), numbers(2)) is None, "coarse numbers agree by chance"
    assert repeated_rows(np.random.default_rng(0).integers(3, size=(N, 4)) * 1.0, ("nominal",) * 4) is None


# False alarms

CHECKS = {"rows": row_dependence, "repeated": repeated_rows, "gaps": gap_dependences, "factor": common_factor}


@pytest.mark.parametrize("check", CHECKS)
def test_independent_tables_raise_no_alarm(check):
    """Of 2,000 independent tables of 40 to 1,000 rows two or three are reported by the first check, fewer by others."""
    tables = [independent(seed, rows, gaps=check == "gaps") for rows in (40, 100, 300) for seed in range(70)]
    assert sum(bool(CHECKS[check](values, kinds)) for values, kinds in tables) <= 2


def test_tables_of_the_simulator_raise_hardly_any_alarm():
    """Of 1,440 tables with graphs up to 3 edges a column: 4 factors, 2 gaps, no row, no repetition."""
    tables = [(values[: 20_000 // len(kinds)], kinds) for values, kinds in simulated(81_000_000, 100)]
    found = {name: sum(bool(check(*table)) for table in tables) for name, check in CHECKS.items()}
    assert sum(found.values()) <= 3, found


# In the answer


def test_the_answer_says_the_cause_and_the_table_is_unlike_the_training():
    chosen = pd.DataFrame(hidden(harvest(), CROP > 0.5, 0, 1), columns=["soil", "light", "root", "leaf", "crop"])
    for table, words in (
        (in_time(0.7), ("rows depend on those before them", "'x", "599 rows count for about", "give rows")),
        (chosen, ("'soil', 'light' on 'crop', mostly where that is high", "cannot be trusted")),
        (counted(0.15), ("one factor runs through the values of 12 of 12 columns", "all with one sign", "divide it")),
        (np.tile(normal(rows=200), (2, 1)), ("200 of 400 rows repeat another one", "give each row once")),
    ):
        found = SiCL()(table)
        assert any(all(word in text for word in words) for text in found.warnings), found.warnings
        assert found.ood_score > 0
        assert len(found.ood_reasons) >= 1


def test_what_holds_raises_no_doubt():
    table = Table.from_frame(pd.DataFrame(normal() @ normal(1, 5) + 0.1 * normal(2)))
    found = SiCL()(table)
    assert broken_assumptions(table) == ()
    assert found.ood_score < 0.2
    assert found.ood_reasons == ()


def test_more_rows_of_the_same_law_are_not_unlike_the_training():
    for rows in (5000, 10_000, 20_000, 50_000):
        a, b, d, e = np.random.default_rng(0).standard_normal((4, rows))
        c = a + b + 0.5 * d
        found = SiCL(refine=0.0)(pd.DataFrame({"a": a, "b": b, "c": c, "d": c + 0.5 * e, "e": c + np.roll(e, 1)}))
        assert found.ood_score < 0.05
        assert found.warnings == ()
    assert SiCL(refine=0.0)(np.random.default_rng(0).standard_normal((10_000, 4))).ood_score < 0.05


@pytest.mark.parametrize(("rows", "rare"), [(1000, 1.0), (500, 2.0), (1000, 4.0), (50_000, 2.0)])
def test_rare_events_make_doubt_and_no_edges(rows, rare):
    true = {frozenset(pair) for pair in (("theft", "siren"), ("quake", "siren"), ("siren", "anna"), ("siren", "bert"))}
    for seed in range(4 if rows < 50_000 else 1):
        found = SiCL()(pd.DataFrame(alarms(seed, rows, rare)))
        assert {frozenset((edge.source, edge.target)) for edge in found.edges} <= true
        i, j = found.names.index("theft"), found.names.index("quake")
        assert found.adjacent[i, j] < 0.5
        assert found.ood_score > 0
        assert any("rarer than in any training table" in text for text in found.warnings)


@pytest.mark.parametrize("kind", ["nominal", "ordinal", "binary"])
def test_two_levels_are_the_same_whatever_they_are_named(kind):
    random = np.random.default_rng(1)
    a, c = random.random((2, 600)) < [[0.4], [0.5]]
    b = random.random(600) < np.where(a, 0.7, 0.3)
    table = pd.DataFrame({"a": a, "b": b, "c": c, "e": random.random(600) < np.where(b & c, 0.9, 0.2)})
    for columns in (table, table.astype(int), table.replace({True: "yes", False: "no"})):
        if kind == "ordinal" and columns.dtypes.iloc[0] not in (bool, int):
            continue  # texts have no order
        plain, named = SiCL()(columns), SiCL()(columns, kinds=dict.fromkeys(columns, kind))
        assert named.graph == plain.graph
        assert np.array_equal(named.adjacent, plain.adjacent)


def test_ranks_are_those_of_a_count_pair_by_pair():
    column = np.array([3.0, np.nan, 1.0, 3.0, 2.0, np.nan, 3.0])
    known = column[~np.isnan(column)]
    expected = [(known < x).sum() + ((known == x).sum() + 1) / 2 if x == x else np.nan for x in column]
    assert np.array_equal(mean_ranks(column), expected, equal_nan=True)
    assert np.isnan(mean_ranks(np.full(3, np.nan))).all()
