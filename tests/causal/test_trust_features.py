"""Features of trust: closed forms, and invariance to the order of rows and columns, to units and to signs."""

from dataclasses import replace

import numpy as np
import pytest

from assumption_tables import alarms, harvest, in_time
from intaglio.causal.methods.sicl.networks.weights import TrainedNetwork, load_network
from intaglio.causal.methods.sicl.reading import Reading, read_table
from intaglio.causal.methods.sicl.trust_features import (
    TABLE_GROUPS,
    TrustFeatures,
    _Factors,
    _partial,
    _share_at_an_end,
)
from intaglio.causal.scores.count_evidence import log_bayes_factor
from intaglio.causal.tables.assumptions import examine
from intaglio.causal.tables.table import Table


@pytest.fixture(scope="module")
def network() -> TrainedNetwork:
    return replace(load_network("light"), recalibration=None)


def reading(network: TrainedNetwork, values) -> Reading:
    return read_table(network, examine(Table.from_frame(values)))


def features(network: TrainedNetwork, values) -> TrustFeatures:
    found = reading(network, values).features
    assert found is not None
    return found


def mixed(rows: int = 300) -> np.ndarray:
    values = harvest(rows=rows)
    values[:, 2] = np.digitize(values[:, 2], [-0.5, 0.8])
    values[::5, 0] = np.nan
    return values


def test_groups_of_features_of_a_table_cover_them_all(network):
    found = features(network, mixed())
    assert len(found.table) == sum(TABLE_GROUPS.values())
    assert np.array_equal(found.pairs[:, -len(found.table) :], np.tile(found.table, (10, 1)))


def test_the_first_feature_of_a_pair_is_its_logit(network):
    said = reading(network, harvest(rows=300))
    assert np.allclose(said.features.pairs[:, 0], said.trusted[np.triu_indices(5, 1)])


def test_nothing_is_left_of_correlations_of_one_factor_beyond_it():
    """λ_i λ_j are the correlations: |z| is √m λ_i λ_j before, and about 0 beyond the first factor."""
    loading = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    correlation = np.outer(loading, loading)
    np.fill_diagonal(correlation, 1.0)
    found = _Factors.of(correlation, np.full((6, 6), 20.0))
    off = ~np.eye(6, dtype=bool)
    assert np.allclose(found.pairs[..., 0][off], 20 * correlation[off])
    assert found.pairs[..., 1][off].max() < 0.2
    assert found.table[0] == pytest.approx(np.linalg.eigvalsh(correlation)[-1] / 6)
    assert found.table[4] == pytest.approx(np.median(loading), abs=0.01)


def test_partial_correlations_are_those_of_regressions():
    """Of two columns given a third, (r12 - r13 r23) / √((1 - r13²) (1 - r23²))."""
    r = np.array([[1, 0.5, 0.6], [0.5, 1, 0.4], [0.6, 0.4, 1]])
    expected = (0.5 - 0.6 * 0.4) / np.sqrt((1 - 0.36) * (1 - 0.16))
    assert abs(_partial(r)[0, 1]) == pytest.approx(expected)


def test_counts_of_levels_give_their_bayes_factor(network):
    values = np.stack([column.astype(float) for column in alarms(0).values()], 1)
    found = features(network, values).pairs
    one, two = values[:, 0].astype(int), values[:, 2].astype(int)
    expected = [log_bayes_factor(one, two, np.zeros_like(one)), one.mean() * two.sum()]
    own = found.shape[1] - sum(TABLE_GROUPS.values())
    assert found[1, own - 2 : own] == pytest.approx(expected)
    assert np.isnan(features(network, harvest(rows=300)).pairs[:, own - 2 : own]).all()


@pytest.mark.parametrize("make", [mixed, lambda: in_time(0.6, columns=5)])
def test_order_units_and_signs_do_not_matter(network, make):
    values = make()
    one = features(network, values)
    if make is mixed:
        rows = np.random.default_rng(0).permutation(len(values))
        assert np.allclose(features(network, values[rows]).pairs, one.pairs, atol=1e-5, equal_nan=True)
    turned = features(network, values * [1e3, -2.0, 1.0, -0.01, 5.0])
    assert np.allclose(turned.table, one.table, atol=1e-5, equal_nan=True)
    assert np.allclose(turned.pairs, one.pairs, atol=1e-4, equal_nan=True)
    order = [3, 1, 4, 0, 2]
    place = {frozenset(pair): k for k, pair in enumerate(zip(*np.triu_indices(5, 1), strict=True))}
    moved = features(network, values[:, order])
    same = [place[frozenset((order[i], order[j]))] for i, j in zip(*np.triu_indices(5, 1), strict=True)]
    assert np.allclose(moved.pairs, one.pairs[same], atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("columns", [2, 3])
def test_few_columns_have_features_too(network, columns):
    found = features(network, harvest(rows=60)[:, :columns])
    assert np.isfinite(found.table).all()
    assert len(found.pairs) == columns * (columns - 1) // 2


def test_one_column_and_arrows_have_none(network):
    assert reading(network, harvest(rows=60)[:, :1]).features is None
    assert reading(load_network("node-edge"), harvest(rows=60)).features is None


def test_cells_at_an_end_are_counted_at_either_end():
    """Counts with zeros have as many cells at an end after their sign is turned."""
    values = np.array([[0.0, 3.0], [0.0, np.nan], [2.0, 1.0], [5.0, 3.0]])
    assert _share_at_an_end(values) == pytest.approx([2 / 4, 2 / 3])
    assert _share_at_an_end(-values) == pytest.approx([2 / 4, 2 / 3])
