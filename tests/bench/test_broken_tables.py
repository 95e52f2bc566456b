"""Broken tables and their sound twins: each break as it was planted, and the graph in the twin's law."""

import numpy as np
import pytest

from intaglio.bench.discover import broken_gaps, broken_rows, hidden_factors, rare_events, structural_law
from intaglio.bench.discover.broken_tables import BROKEN_FAMILIES, checked_families, twin_tables
from intaglio.bench.discover.structural_law import random_graph, random_law, shaped
from intaglio.bench.discover.suites import FIRST_SEED, SOUND, broken, tasks
from intaglio.bench.discover.twin_tables import TwinTables, column_names
from intaglio.causal.graphs.graph import Graph
from intaglio.errors import BadInput

VARIANTS = [(family, variant) for family, variants in BROKEN_FAMILIES.items() for variant in variants]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def bare(monkeypatch):
    """No edges, no levels, Gaussian noise: what is left is the break."""
    monkeypatch.setattr(structural_law, "WITH_LEVELS", 0.0)
    monkeypatch.setattr(structural_law, "NOISES", ("gaussian",))
    for module in (broken_rows, hidden_factors):
        monkeypatch.setattr(module, "WITHOUT_EDGES", 1.0)


def lag_one(values):
    centred = (values - values.mean(0)) / values.std(0)
    return (centred[1:] * centred[:-1]).mean(0)


def pair_correlations(values):
    return np.corrcoef(values, rowvar=False)[np.triu_indices(values.shape[1], 1)]


def test_a_series_depends_on_the_row_before_as_planted_and_each_row_has_the_twin_s_law(bare, monkeypatch):
    monkeypatch.setattr(broken_rows, "LAG_CORRELATION", (0.7, 0.7))
    found = broken_rows.series(rng(), 40, 3000)
    lags = lag_one(found.broken)
    assert 0.57 < lags.min() < lags.max() < 0.83
    assert lags.mean() == pytest.approx(0.7, abs=0.03)
    assert np.abs(lag_one(found.sound)).max() < 0.08
    short = np.stack([broken_rows.series(rng(seed), 25, 4).broken for seed in range(40)])
    assert np.allclose(short.std((0, 2)), 1, atol=0.09), "it starts in its stationary law"


def test_random_walks_correlate_without_an_edge_and_their_twins_do_not(bare):
    found = broken_rows.walks(rng(), 20, 1000)
    assert lag_one(found.broken).min() > 0.95
    assert np.allclose(found.broken.std(0), 1)
    assert np.abs(pair_correlations(found.broken)).mean() > 0.3
    assert np.abs(pair_correlations(found.sound)).max() < 0.15


def test_rows_of_a_group_share_the_planted_part_of_the_variance(bare, monkeypatch):
    monkeypatch.setattr(broken_rows, "GROUP_ROWS", (20, 20))
    monkeypatch.setattr(broken_rows, "GROUP_SHARE", (0.5, 0.5))
    drawn = [broken_rows.groups(rng(seed), 10, 2000) for seed in range(12)]
    lags = np.array([lag_one(found.broken).mean() for found in drawn])
    in_order = lags > 0.2
    assert 2 < in_order.sum() < 10, "some are sorted by group, some are not"
    # Of the 1999 neighbours in order, 99 are of two groups.
    assert lags[in_order].mean() == pytest.approx(0.5 * 1900 / 1999, abs=0.04)
    assert np.abs(lags[~in_order]).max() < 0.05
    # The mean over rows has the variance of 100 groups' effects, not of 2000 independent rows.
    means = np.concatenate([found.broken.mean(0) for found in drawn])
    assert means.var() == pytest.approx(0.5 / 100 * 1.05 + 0.5 / 2000, rel=0.35)


def test_a_table_appended_to_itself_has_each_row_alike_often_and_its_twin_has_it_once(monkeypatch):
    monkeypatch.setattr(broken_rows, "COPIES", (3, 3))
    found = broken_rows.appended(rng(), 6, 301)
    rows, counts = np.unique(found.broken, axis=0, return_counts=True)
    assert found.broken.shape == (301, 6)
    assert (len(rows), len(found.sound)) == (100, 100)
    assert sorted(set(counts)) == [3, 4]
    assert np.array_equal(rows, np.unique(found.sound, axis=0))


def test_rows_with_replacement_repeat_as_chance_has_it(monkeypatch):
    monkeypatch.setattr(broken_rows, "POOL_SHARE", (0.5, 0.5))
    found = broken_rows.resampled(rng(), 6, 2000)
    distinct = len(np.unique(found.broken, axis=0))
    assert distinct == pytest.approx(1000 * (1 - (1 - 1 / 1000) ** 2000), rel=0.03)
    assert len(found.sound) == distinct
    assert np.array_equal(np.unique(found.sound, axis=0), np.unique(found.broken, axis=0))


def gaps_of(values):
    gaps = np.isnan(values)
    lacking = np.flatnonzero(gaps.any(0))
    assert (gaps[:, lacking] == gaps[:, lacking[:1]]).all(), "the same rows lack them all"
    return gaps[:, lacking[0]], lacking


def split_by(values, missing):
    """The complete columns that separate rows with gaps from the others by a threshold."""
    complete = np.flatnonzero(~np.isnan(values).any(0))
    return [
        k
        for k in complete
        if values[missing, k].min() > values[~missing, k].max() or values[missing, k].max() < values[~missing, k].min()
    ]


@pytest.mark.parametrize("variant", ["effect", "other"])
def test_cells_are_missing_where_the_other_column_is_high_or_low_and_at_random_in_the_twin(variant, monkeypatch):
    monkeypatch.setattr(broken_gaps, "SOFT", (0.0, 0.0))
    monkeypatch.setattr(structural_law, "WITH_LEVELS", 0.0)
    highs = []
    for seed in range(12):
        found = twin_tables("dependent-gaps", variant, rng(seed), 8, 600)
        missing, lacking = gaps_of(found.broken)
        (on,) = split_by(found.broken, missing)
        highs.append(found.broken[missing, on].mean() > found.broken[~missing, on].mean())
        assert 0.09 < missing.mean() < 0.51
        if variant == "effect":
            reached = np.linalg.matrix_power(found.graph.directed.astype(int) + np.eye(8, dtype=int), 8) > 0
            assert reached[lacking, on].all(), "they are causes of the column that decides"
        in_twin, lacking_there = gaps_of(found.sound)
        assert lacking_there.tolist() == lacking.tolist()
        assert in_twin.sum() == missing.sum()
        assert abs(np.corrcoef(in_twin, found.sound[:, on])[0, 1]) < 0.2
        known = ~np.isnan(found.broken) & ~np.isnan(found.sound)
        assert np.array_equal(found.broken[known], found.sound[known]), "the cells that both know are the same"
    assert 0 < sum(highs) < 12


def test_ancestors_are_all_that_paths_reach():
    made = np.triu(rng().random((9, 9)) < 0.3, 1)
    paths = sum(np.linalg.matrix_power(made.astype(int), k) for k in range(1, 9))
    assert np.array_equal(broken_gaps.ancestors(made), paths > 0)


def test_a_weak_factor_has_its_share_of_the_variance_and_two_signs_or_one(bare, monkeypatch):
    monkeypatch.setattr(hidden_factors, "FACTOR_SHARE", (0.25, 0.25))
    drawn = [hidden_factors.weak_factor(rng(seed), 15, 3000) for seed in range(8)]
    # The mean of √(s_i s_j) with s from 0.25·U(0.5, 1.5) is 0.25 times the square of the mean root, 0.978.
    mean_root = (1.5**1.5 - 0.5**1.5) / 1.5
    for found in drawn:
        assert np.abs(pair_correlations(found.broken)).mean() == pytest.approx(0.25 * mean_root**2, abs=0.05)
        assert np.abs(pair_correlations(found.sound)).mean() < 0.03
        assert np.allclose(found.broken.std(0), 1, atol=0.06), "the variance is the twin's"
    one_sign = [bool((pair_correlations(found.broken) > 0).all()) for found in drawn]
    assert 0 < sum(one_sign) < 8


def test_two_batches_make_every_pair_correlate_by_their_share(bare, monkeypatch):
    monkeypatch.setattr(hidden_factors, "FACTOR_SHARE", (0.3, 0.3))
    monkeypatch.setattr(hidden_factors, "BATCHES", (2, 2))
    found = hidden_factors.batch(rng(), 10, 4000)
    assert np.allclose(np.abs(pair_correlations(found.broken)), 0.3, atol=0.06)
    assert np.abs(pair_correlations(found.sound)).max() < 0.08


def test_the_depth_is_what_logarithms_of_counts_have_in_common(bare, monkeypatch):
    monkeypatch.setattr(hidden_factors, "DEPTH", (0.3, 0.3))
    monkeypatch.setattr(hidden_factors, "COUNT_MEAN", (400.0, 400.0))
    found = hidden_factors.depth(rng(), 12, 3000)
    assert (found.broken == np.round(found.broken)).all()
    assert found.broken.min() >= 0
    upper = np.triu_indices(12, 1)
    shared, none = (np.cov(np.log(values + 0.5), rowvar=False)[upper] for values in (found.broken, found.sound))
    assert shared.mean() == pytest.approx(0.09, abs=0.01)
    assert abs(none.mean()) < 0.005


@pytest.mark.parametrize("variant", ["types", "depth"])
def test_cells_have_many_zeros_and_types_that_leave_the_mean_as_it_is(variant, monkeypatch):
    monkeypatch.setattr(hidden_factors, "CELL_EDGES", (0.0,))
    monkeypatch.setattr(hidden_factors, "MARKER_SHARE", (1.0, 1.0))
    monkeypatch.setattr(hidden_factors, "MARKER_SHIFT", (1.2, 1.2))
    monkeypatch.setattr(hidden_factors, "DEPTH", (0.3, 0.3))
    drawn = [twin_tables("cell-types", variant, rng(seed), 20, 3000) for seed in range(5)]
    for found in drawn:
        assert not found.graph.edges
        assert 0.4 < (found.broken == 0).mean() < 0.92
        assert 0.4 < (found.sound == 0).mean() < 0.92
        assert np.abs(pair_correlations(found.broken)).mean() > 3 * np.abs(pair_correlations(found.sound)).mean()
    grown = np.exp(0.3**2 / 2) if variant == "depth" else 1.0
    ratio = np.concatenate([found.broken.mean(0) / found.sound.mean(0) for found in drawn])
    assert np.median(ratio) == pytest.approx(grown, abs=0.08)


def test_a_noisy_or_follows_its_closed_form():
    made = np.zeros((3, 3), bool)
    made[:2, 2] = True
    strength = np.array([[0, 0, 0.9], [0, 0, 0.4], [0, 0, 0]])
    first, second, effect = rare_events.noisy_or(rng(), made, strength, np.array([0.5, 0.3, 0.1]), 60_000).T
    assert first.mean() == pytest.approx(0.5, abs=0.01)
    assert (first * second).mean() == pytest.approx(0.15, abs=0.01), "causes are independent"
    for a, b in ((0, 0), (1, 0), (0, 1), (1, 1)):
        expected = 1 - 0.9 * (1 - 0.9 * a) * (1 - 0.4 * b)
        assert effect[(first == a) & (second == b)].mean() == pytest.approx(expected, abs=0.015)


def test_rare_causes_have_few_rows_and_hardly_any_together():
    together, expected = 0, 0.0
    for seed in range(40):
        found = rare_events.causes(rng(seed), 5, 1000)
        roots = np.flatnonzero(~found.graph.directed.any(0))
        counts = found.broken[:, roots].sum(0)
        assert (counts <= 65).all()
        assert (found.sound[:, roots].mean(0) > 0.15).all()
        upper = np.triu_indices(len(roots), 1)
        joint = (found.broken[:, roots].T @ found.broken[:, roots])[upper]
        together, expected = together + joint.sum(), expected + (np.outer(counts, counts) / 1000)[upper].sum()
        assert np.median(joint) <= 3
    assert together == pytest.approx(expected, rel=0.25), "as many as independent causes have"


def test_reports_have_the_shape_of_an_alarm_in_blocks_of_five():
    found = rare_events.reports(rng(1), 5, 1000)
    arrows = {(e.first, e.second) for e in found.graph.edges}
    assert arrows == {("x0", "x2"), ("x1", "x2"), ("x2", "x3"), ("x2", "x4")}
    larger = [len(rare_events.reports(rng(seed), 15, 1000).graph.edges) for seed in range(20)]
    assert set(larger) == {12, 13, 14}, "blocks are linked or not"


def linear_law(d, seed, monkeypatch):
    monkeypatch.setattr(structural_law, "WITH_LEVELS", 0.0)
    made = random_graph(rng(seed), d, edges=(1.5,))
    law = next(law for k in range(20) if not (law := random_law(rng(seed + k), made)).weights[1].any())
    return law


def test_a_linear_law_explains_its_share_and_nothing_but_the_parents_is_left(monkeypatch):
    law = linear_law(8, 3, monkeypatch)
    values = law.table(rng(9).standard_normal((20_000, 8)))
    for j in range(8):
        parents = np.flatnonzero(law.made[:, j])
        fit = np.linalg.lstsq(values[:, parents], values[:, j], rcond=None)[0]
        rest = values[:, j] - values[:, parents] @ fit
        assert 1 - rest.var() / values[:, j].var() == pytest.approx(law.explained[j], abs=0.03)
        for i in range(j):
            assert abs(np.corrcoef(values[:, i], rest)[0, 1]) < 0.03, "given its parents, nothing before it matters"
        for i in parents:
            others = values[:, [k for k in parents if k != i]]
            fewer = values[:, j] - others @ np.linalg.lstsq(others, values[:, j], rcond=None)[0]
            assert abs(np.corrcoef(fewer, values[:, i])[0, 1]) > 0.03, "and every parent does"


def test_levels_are_cut_before_their_effects_respond(monkeypatch):
    monkeypatch.setattr(structural_law, "WITH_LEVELS", 1.0)
    monkeypatch.setattr(structural_law, "LEVEL_SHARE", 0.999)
    made = np.array([[0, 1], [0, 0]], bool)
    law = random_law(rng(2), made)
    noise = rng(3).standard_normal((4000, 2))
    cause, effect = law.table(noise).T
    assert set(np.unique(cause)) == set(range(len(law.cuts[0]) + 1))
    moved = law.table(np.stack([noise[:, 0] * 1.0001, noise[:, 1]], 1))
    same = cause == moved[:, 0]
    assert same.mean() > 0.99
    assert np.array_equal(effect[same], moved[same, 1]), "the effect knows the level alone"
    assert law.kinds == {f"x{k}": "binary" if len(cuts) == 1 else "ordinal" for k, cuts in enumerate(law.cuts)}


@pytest.mark.parametrize(
    ("law", "skewness", "kurtosis"), [("laplace", 0, 6), ("uniform", 0, 1.8), ("exponential", 2, 9)]
)
def test_noise_is_shaped_to_mean_0_and_variance_1_in_its_order(law, skewness, kurtosis):
    given = rng().standard_normal((400_000, 1))
    made = shaped(given, law)
    assert np.array_equal(np.argsort(given[:500, 0]), np.argsort(made[:500, 0]))
    assert (made.mean(), made.std()) == (pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.01))
    assert (made**3).mean() == pytest.approx(skewness, abs=0.15)
    assert (made**4).mean() == pytest.approx(kurtosis, rel=0.1)


@pytest.mark.parametrize(("family", "variant"), VARIANTS)
def test_twins_have_one_truth_and_are_the_same_each_time(family, variant):
    (cell, twin) = (c for c in broken((family,), (6,), (150,), 2) if c.law.removesuffix(SOUND) == variant)
    assert (cell.sound, twin.sound) == (False, True)
    pairs = list(zip(tasks(cell, 0, "gaussian"), tasks(twin, 0, "gaussian"), strict=True))
    for task, sound in pairs:
        assert task.truth == sound.truth
        assert task.truth.kind == "CPDAG"
        assert task.key != sound.key
        assert (task.table.names, task.table.kinds) == (sound.table.names, sound.table.kinds)
        assert not np.array_equal(task.table.values, sound.table.values, equal_nan=True)
        assert np.isnan(task.table.values).any() == (family == "dependent-gaps")
    again = [task for task, _ in zip(tasks(cell, 0, "gaussian"), range(2), strict=True)]
    for (task, _), same in zip(pairs, again, strict=True):
        assert np.array_equal(task.table.values, same.table.values, equal_nan=True)
    other = next(tasks(cell, 1, "gaussian"))
    assert not np.array_equal(pairs[0][0].table.values, other.table.values, equal_nan=True)
    assert FIRST_SEED >= 10_000_000


def test_columns_are_put_in_another_order_with_their_graph_and_kinds():
    graph = Graph.of("DAG", column_names(3), [("x0", "-->", "x2")])
    values = np.arange(30.0).reshape(10, 3) ** 2
    moved = TwinTables(graph, values, values[:9], {"x0": "binary"}).reordered(np.array([2, 0, 1]))
    assert [(e.first, e.second) for e in moved.graph.edges] == [("x1", "x0")]
    assert np.array_equal(moved.broken, values[:, [2, 0, 1]])
    assert np.array_equal(moved.sound, values[:9, [2, 0, 1]])
    assert moved.kinds == {"x1": "binary"}


def twins(values, **about):
    return TwinTables(Graph.of("DAG", column_names(values.shape[1])), values, rng(5).random(values.shape), **about)


def test_tables_that_cannot_be_searched_are_known():
    good = rng().random((30, 3))
    assert twins(good).usable
    few, constant, equal, rare = (good.copy() for _ in range(4))
    few[9:, 0] = np.nan
    constant[:, 1] = 0.5
    equal[:, 1] = equal[:, 0]
    rare[:, 2] = 0.0
    rare[4, 2] = 1.0
    assert not twins(few).usable
    assert not twins(constant).usable
    assert not twins(equal).usable
    assert not twins(rare, kinds={"x2": "binary"}).usable
    assert not TwinTables(twins(good).graph, good, few).usable, "the twin counts as well"


def test_families_are_named_or_all_and_an_unknown_one_is_refused():
    assert checked_families(()) == tuple(BROKEN_FAMILIES)
    assert checked_families(("rare-events", "rare-events")) == ("rare-events",)
    with pytest.raises(BadInput, match=r"'rare'.*rare-events"):
        checked_families(("rare",))


def test_too_few_rows_are_refused_with_the_remedy():
    cell = broken(("repeated-rows",), (4,), (12,), 1)[0]
    with pytest.raises(BadInput, match=r"broken repeated-rows appended d4 n12.*more rows"):
        next(tasks(cell, 0, "gaussian"))
