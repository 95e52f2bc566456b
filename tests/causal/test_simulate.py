from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.simulate import random_dags
from intaglio.causal.simulate.augment import Augmentation, fewer_rows
from intaglio.causal.simulate.mechanisms import MECHANISMS, Scales
from intaglio.causal.simulate.noises import NOISES
from intaglio.causal.simulate.recipe import Recipe
from intaglio.causal.simulate.simulator import draw, tables_of
from intaglio.causal.simulate.sortability import r2_sortability, varsortability
from intaglio.errors import BadInput
from intaglio.randomness import numpy_generator
from small_graphs import graph, random_dag, union

NUMBERS = {"continuous": 1.0}
PLAIN = Recipe(
    families={"er": 1.0},
    mechanisms={"linear": 1.0},
    noises={"gaussian": 1.0},
    types=NUMBERS,
    controlled=0.0,
    heteroscedastic=0.0,
    interactions=0.0,
    standardise=False,
    scales=Scales(weights=((1.0, 3.0),)),
)


def test_a_batch_has_its_shapes_and_the_same_seed_gives_it_again():
    one, two = (draw(Recipe(), numpy_generator(5, 3), 40, 7, 90) for _ in range(2))
    assert one.tables.shape == (40, 90, 7)
    assert one.tables.dtype == np.float32
    assert np.array_equal(one.tables, two.tables, equal_nan=True)
    assert np.array_equal(one.adjacency, two.adjacency)
    assert one.noise == two.noise
    other = draw(Recipe(), numpy_generator(5, 4), 40, 7, 90)
    assert not np.array_equal(one.tables, other.tables)
    assert len(one) == 40
    assert one.valid.mean() > 0.8
    assert [one.graph(k).kind for k in range(40)] == ["DAG"] * 40


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_smallest_tables_can_be_drawn(d):
    batch = draw(Recipe(), numpy_generator(0, d), 50, d, 60)
    assert batch.tables.shape == (50, 60, d)
    assert batch.valid.mean() > 0.8
    assert batch.report()["valid"] == batch.valid.mean()


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("controlled", [0.0, 1.0])
def test_every_mechanism_with_every_noise_and_type_is_finite(mechanism, controlled):
    recipe = Recipe(mechanisms={mechanism: 1.0}, controlled=controlled, noises=dict.fromkeys(NOISES, 1.0))
    batch = draw(recipe, numpy_generator(0, 0), 60, 8, 120)
    assert np.isfinite(batch.tables[batch.valid]).all()
    assert batch.valid.mean() > 0.75
    assert set(batch.mechanism) == {mechanism}


def test_raw_linear_tables_have_the_covariance_of_their_graph():
    dag = Graph.of("DAG", "CBA", [("A", "-->", "B"), ("B", "-->", "C"), ("A", "-->", "C")])
    recipe = replace(PLAIN, bias=(0.0, 0.0), noise=(1.0, 1.0))
    batch = tables_of(recipe, numpy_generator(0, 0), dag, 30, 20_000)
    for table in batch.tables.astype(np.float64):
        c, b, a = table.T
        assert a.std() == pytest.approx(1, abs=0.03)
        assert np.corrcoef(a, b)[0, 1] ** 2 > 0.4
        (w,) = np.linalg.lstsq(a[:, None], b, rcond=None)[0]
        assert 0.97 < abs(w) < 3.03
        assert (b - w * a).std() == pytest.approx(1, abs=0.03)
        two = np.linalg.lstsq(np.stack([a, b], 1), c, rcond=None)[0]
        assert (np.abs(two) > 0.95).all()
        assert (np.abs(two) < 3.05).all()
        assert (c - np.stack([a, b], 1) @ two).std() == pytest.approx(1, abs=0.03)
    assert np.array_equal(batch.adjacency[0], dag.directed)
    assert batch.family[0] == "given"


def test_controlled_tables_have_unit_variance_and_the_share_explained_that_was_asked_for():
    dag = Graph.from_adjacency("DAG", np.eye(6, k=1))
    recipe = replace(PLAIN, controlled=1.0, explained=(0.3, 0.3))
    batch = tables_of(recipe, numpy_generator(1, 0), dag, 200, 400)
    assert batch.controlled.all()
    assert (batch.spread**2).mean(0) == pytest.approx(np.ones(6), abs=0.03)
    correlation = np.array([np.corrcoef(table.T) for table in batch.tables])
    for j in range(1, 6):
        assert (correlation[:, j - 1, j] ** 2).mean() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_scale_control_takes_the_order_out_of_the_variances(mechanism):
    recipe = replace(PLAIN, mechanisms={mechanism: 1.0}, controlled=1.0)
    even = draw(recipe, numpy_generator(2, 0), 200, 10, 300)
    assert even.spread[even.valid].mean() == pytest.approx(1, abs=0.02)
    assert even.report()["varsortability, controlled"] == pytest.approx(0.5, abs=0.06)


def test_raw_tables_show_their_order_and_standardising_hides_the_variances_only():
    raw = draw(PLAIN, numpy_generator(3, 0), 150, 10, 300)
    report = raw.report()
    assert report["varsortability, raw"] > 0.9
    assert report["R²-sortability, raw"] > 0.6
    # Raw weights of 1 to 3 make near copies of many pairs; that is why controlled tables are needed.
    assert 0.4 < report["valid"] < 0.9
    assert np.isnan(report["varsortability, controlled"])
    again = draw(replace(PLAIN, standardise=True), numpy_generator(3, 0), 150, 10, 300)
    assert again.tables[again.valid].std(1) == pytest.approx(1, abs=1e-3)
    assert np.array_equal(again.spread, raw.spread)
    assert varsortability(raw.adjacency, raw.tables) == pytest.approx(raw.varsortability, nan_ok=True, abs=1e-6)
    assert r2_sortability(again.adjacency, again.tables) == pytest.approx(again.r2_sortability, nan_ok=True)
    assert report["edges a variable"] == pytest.approx(raw.adjacency[raw.valid].sum() / raw.valid.sum() / 10)


def test_columns_are_shuffled_with_their_graph():
    ordered = draw(replace(PLAIN, shuffle=False), numpy_generator(4, 0), 50, 6, 2000)
    assert not np.tril(ordered.adjacency).any()
    batch = draw(PLAIN, numpy_generator(4, 0), 50, 6, 2000)
    assert np.tril(batch.adjacency).any()
    # The same tables, in another order each.
    assert np.sort(batch.spread, 1) == pytest.approx(np.sort(ordered.spread, 1))
    order = np.argsort(np.argsort(ordered.spread, 1), 1)
    back = np.take_along_axis(np.argsort(batch.spread, 1), order, 1)
    for k in range(50):
        assert np.array_equal(batch.adjacency[k][np.ix_(back[k], back[k])], ordered.adjacency[k])
        assert np.array_equal(batch.tables[k][:, back[k]], ordered.tables[k])


@pytest.mark.parametrize("types", [NUMBERS, {"discrete": 1.0}, {"mixed": 1.0}])
def test_tables_obey_the_separations_of_their_graph(types):
    """In x → y → z, x and z are dependent and independent given y, whatever the columns are."""
    dag = Graph.of("DAG", "XYZ", [("X", "-->", "Y"), ("Y", "-->", "Z")])
    recipe = Recipe(types=types, level_counts=(2, 3), mechanisms={"linear": 1.0}, controlled=1.0, heteroscedastic=0.0)
    batch = tables_of(recipe, numpy_generator(6, 0), dag, 60, 4000)
    near, far = [], []
    for table, (_, middle, last) in zip(batch.tables[batch.valid], batch.levels[batch.valid], strict=True):
        near.append(abs(np.corrcoef(table[:, 0], table[:, 1])[0, 1]))
        if middle or not last:
            x, z = (rest(table[:, k].astype(float), table[:, 1], middle > 0) for k in (0, 2))
            far.append(np.sqrt(len(x)) * np.corrcoef(x, z)[0, 1])
    assert np.mean(near) > 0.2
    assert len(far) > 30
    assert np.std(far) < 1.3
    assert abs(np.mean(far)) < 0.5


def rest(values: np.ndarray, given: np.ndarray, by_level: bool) -> np.ndarray:
    """What a regression on the given column leaves: on its levels, or on its value (z is linear in y)."""
    if not by_level:
        return values - np.polyval(np.polyfit(given, values, 1), given)
    groups = given.astype(int)
    mean = np.bincount(groups, values) / np.maximum(1, np.bincount(groups))
    return values - mean[groups]


def test_discrete_tables_have_the_marginals_that_their_conditionals_imply():
    dag = Graph.of("DAG", "XY", [("X", "-->", "Y")])
    batch = tables_of(Recipe(types={"discrete": 1.0}), numpy_generator(7, 0), dag, 100, 3000)
    assert (batch.levels >= 2).all()
    assert (batch.levels <= 6).all()
    share = np.zeros(7)
    for table, (k, m) in zip(batch.tables.astype(int), batch.levels, strict=True):
        assert table.min() == 0
        assert table[:, 0].max() < k
        assert table[:, 1].max() < m
        share[k] += 1
        root = np.bincount(table[:, 0], minlength=k) / 3000
        assert root.min() >= 0.05 / k - 0.02
    assert share[2:] / 100 == pytest.approx(np.full(5, 0.2), abs=0.12)
    dependent = [
        stats.chi2_contingency(np.histogram2d(t[:, 0], t[:, 1], bins=(k, m))[0] + 1e-9).pvalue < 0.01
        for t, (k, m) in zip(batch.tables, batch.levels, strict=True)
    ]
    assert np.mean(dependent) > 0.9


def test_types_come_in_their_shares():
    batch = draw(Recipe(), numpy_generator(8, 0), 1500, 12, 4)
    share = (batch.levels > 0).mean(1)
    assert (share == 0).mean() == pytest.approx(0.6, abs=0.05)
    assert (share == 1).mean() == pytest.approx(0.15, abs=0.04)
    assert not batch.ordered[batch.levels == 0].any()


def test_useless_tables_are_told_from_others():
    two = Graph.from_adjacency("DAG", np.eye(2, k=1))
    copies = tables_of(replace(PLAIN, controlled=1.0, explained=(1.0, 1.0)), numpy_generator(9, 0), two, 5, 50)
    assert not copies.valid.any()
    constant = tables_of(replace(PLAIN, noise=(0.0, 0.0)), numpy_generator(9, 0), Graph.of("DAG", "A"), 5, 50)
    assert not constant.valid.any()
    fine = tables_of(PLAIN, numpy_generator(9, 0), Graph.of("DAG", "AB"), 5, 50)
    assert fine.valid.all()


def test_compelled_arrows_are_those_of_the_class():
    batch = draw(replace(PLAIN, families={"er": 0.5, "sf": 0.5}), numpy_generator(10, 0), 60, 7, 5)
    for k in range(60):
        assert np.array_equal(batch.compelled[k], batch.graph(k).cpdag().directed)


def test_a_heteroscedastic_table_has_noise_that_its_parents_widen():
    dag = Graph.from_adjacency("DAG", np.eye(2, k=1))
    recipe = replace(PLAIN, controlled=1.0, explained=(0.3, 0.3))
    found = []
    for share in (0.0, 1.0):
        batch = tables_of(replace(recipe, heteroscedastic=share), numpy_generator(11, 0), dag, 80, 2000)
        x, y = batch.tables[:, :, 0], batch.tables[:, :, 1]
        size = np.abs(y - np.sign((x * y).mean(1, keepdims=True)) * np.sqrt(0.3) * x)
        parts = [(x > low) & (x <= low + 0.5) for low in (-1.5, -0.5, 0.5)]
        width = np.stack([(size * part).sum(1) / part.sum(1) for part in parts])
        found.append(width.std(0).mean())
        assert batch.spread[:, 1].mean() == pytest.approx(1, abs=0.05)
    assert found[1] > 2 * found[0]


def test_disguises_keep_ranks_and_count_gaps():
    batch = draw(replace(PLAIN, standardise=True), numpy_generator(12, 0), 300, 5, 100)
    flips = Augmentation(flipped=0.5, mapped=0.0, gapped=0.0)(numpy_generator(1, 1), batch)
    same = (flips.tables == batch.tables).all(1)
    turned = (flips.tables == -batch.tables).all(1)
    assert (same ^ turned).all()
    assert turned.mean() == pytest.approx(0.5, abs=0.05)
    maps = Augmentation(flipped=0.0, mapped=1.0, gapped=0.0)(numpy_generator(1, 2), batch)
    for k, j in product(range(0, 300, 10), range(5)):
        assert stats.spearmanr(maps.tables[k, :, j], batch.tables[k, :, j]).statistic > 0.9999
    assert maps.tables.std(1) == pytest.approx(1, abs=1e-3)
    gaps = Augmentation(flipped=0.0, mapped=0.0, gapped=0.5, most_missing=0.2)(numpy_generator(1, 3), batch)
    missing = np.isnan(gaps.tables).mean((1, 2))
    assert (missing > 0).mean() == pytest.approx(0.5, abs=0.1)
    assert missing[missing > 0].mean() == pytest.approx(0.1, abs=0.02)
    discrete = draw(Recipe(types={"discrete": 1.0}), numpy_generator(12, 0), 20, 5, 50)
    left = Augmentation(gapped=0.0)(numpy_generator(1, 4), discrete)
    assert np.array_equal(left.tables, discrete.tables)
    fewer = fewer_rows(numpy_generator(1, 5), batch, 10)
    assert fewer.tables.shape == (300, 10, 5)
    assert all(
        any((row == table).all(1).any() for row in fewer.tables[k, :1]) for k, table in enumerate(batch.tables[:20])
    )
    with pytest.raises(BadInput, match="101 rows cannot be taken of 100"):
        fewer_rows(numpy_generator(1, 5), batch, 101)
    with pytest.raises(ValueError, match="mapped is a share from 0 to 1"):
        Augmentation(mapped=2.0)


@pytest.mark.parametrize("sizes", [(0, 3, 10), (1, 0, 10), (1, 3, 1)])
def test_sizes_that_make_no_table_are_refused(sizes):
    with pytest.raises(BadInput, match="cannot be simulated; ask for"):
        draw(Recipe(), numpy_generator(0, 0), *sizes)


def test_tables_come_from_a_dag_only():
    with pytest.raises(BadInput, match="tables are drawn from a DAG, not a CPDAG"):
        tables_of(Recipe(), numpy_generator(0, 0), Graph.of("CPDAG", "AB"), 1, 5)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"families": {"er": 1.0, "xy": 1.0}}, "families has no 'xy'; there are er"),
        ({"noises": {}}, "noises need shares"),
        ({"types": {"mixed": -1.0}}, "types need shares of 0 or more"),
        ({"controlled": 1.2}, "controlled is a share from 0 to 1, not 1.2"),
        ({"explained": (0.9, 0.1)}, "explained is a range within 0 and 1, not 0.9 to 0.1"),
        ({"level_counts": (1, 6)}, "level_counts is a range within 2"),
        ({"concentrations": ()}, "concentrations are above 0"),
        ({"most_parents": 0}, "most_parents is 1 or more"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, why):
    with pytest.raises(ValueError, match=why):
        Recipe(**wrong)


def test_a_given_graph_keeps_its_columns_where_its_order_is_another():
    random = np.random.default_rng(0)
    dag = random_dag(random, 8, 0.4)
    batch = tables_of(PLAIN, numpy_generator(13, 0), graph("DAG", dag), 3, 20)
    assert np.array_equal(batch.adjacency, np.repeat(dag[None], 3, 0))
    assert np.array_equal(batch.graph(0).cpdag().adjacency, union([graph("DAG", dag).cpdag().adjacency]))
    assert Recipe().most_parents == random_dags.MAX_PARENTS
