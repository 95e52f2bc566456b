"""Evidence of a table: repeated and dependent rows count less, chosen gaps are filled, other tables change no bit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from assumption_tables import harvest, in_time
from intaglio import SiCL
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.methods.sicl.evidence import TableEvidence, column_keys, evidence_of
from intaglio.causal.methods.sicl.networks.weights import TrainedNetwork, load_network
from intaglio.causal.methods.sicl.predict import predict_graph
from intaglio.causal.methods.sicl.reading import Reading, read_table
from intaglio.causal.tables.assumptions import ExaminedTable, examine
from intaglio.causal.tables.row_dependence import row_dependence
from intaglio.causal.tables.table import Table

HARVEST = ["soil", "light", "root", "leaf", "crop"]


def evidence(table: Table) -> TableEvidence:
    return evidence_of(examine(table), column_keys(table))


@pytest.fixture(scope="module")
def network() -> TrainedNetwork:
    return load_network("light")


def test_independent_rows_all_count():
    table = Table.from_frame(harvest(rows=400))
    found = evidence(table)
    assert found.share is None
    assert found.rows == 400
    assert found.values[0] is table.values
    assert examine(table).table is table


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_dependent_rows_count_as_bartlett_says(rho):
    """The correlation of two series that lean by ρ has the variance of n (1 - ρ²) / (1 + ρ²) independent rows."""
    found = evidence(Table.from_frame(in_time(rho, rows=4000)))
    assert found.rows == pytest.approx(4000 * (1 - rho**2) / (1 + rho**2), rel=0.15)


def test_random_walks_count_as_few_rows():
    """Two walks correlate however many their rows are, so that more of them say no more."""
    for rows in (300, 3000):
        found = row_dependence(in_time(1.0, rows=rows, columns=4), ("continuous",) * 4)
        assert found is not None
        counts = (rows - 1) / found.variance_ratios[np.triu_indices(4, 1)]
        assert counts.min() == pytest.approx(3.0)
        assert counts.mean() < 30


def test_only_pairs_of_dependent_columns_count_less():
    values = np.concatenate([in_time(0.8, columns=4), np.random.default_rng(1).standard_normal((599, 3))], 1)
    share = evidence(Table.from_frame(values)).share
    assert share is not None
    assert share[:4, :4].max() < 0.4
    assert (share[4:] == 1).all()


def test_statistics_take_the_rows_that_count(network):
    """Evidence of a correlation is log(1 + √m atanh|ρ|) of m rows that count, with ρ of all rows."""
    table = Table.from_frame(harvest(rows=400))
    whole = evidence(table)
    fewer = replace(whole, share=np.full((5, 5), 0.25))
    one, two = whole.logits(network).statistics, fewer.logits(network).statistics
    rho = np.abs(np.corrcoef(table.values.T))
    upper = np.triu_indices(5, 1)
    assert np.allclose(one[..., 1], two[..., 1]), "strength"
    for found, rows in ((one, 400), (two, 100)):
        assert np.allclose(found[..., 0][upper], np.log1p(np.sqrt(rows) * np.arctanh(rho[upper])), rtol=1e-3)
    assert (two[..., 0][upper] < one[..., 0][upper]).all()


def test_bic_takes_the_rows_that_count():
    whole = evidence(Table.from_frame(harvest(rows=400)))
    quarter = replace(whole, share=np.full((5, 5), 0.25)).score()
    residual = np.linalg.inv(np.linalg.inv(np.corrcoef(whole.values[0].T)[np.ix_([0, 2], [0, 2])]))  # of both
    variance = 1 - residual[0, 1] ** 2
    assert quarter(2, [0]) == pytest.approx(-50 * (1 + np.log(variance)) - np.log(100), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_series_that_have_nothing_to_do_with_each_other_stand_apart(seed):
    found = SiCL()(in_time(0.7, seed))
    assert found.edges == ()
    assert found.adjacent.max() < 0.5


@pytest.mark.parametrize("times", [2, 5])
def test_rows_that_are_given_again_change_nothing_of_what_the_network_says(network, times):
    once = harvest(rows=150)
    again = np.tile(once, (times, 1))
    said, said_again = (read_table(network, examine(Table.from_frame(rows))).trusted for rows in (once, again))
    assert np.array_equal(said, said_again)
    one, many = SiCL()(once), SiCL()(again)
    assert np.allclose(one.adjacent, many.adjacent, atol=0.02)
    assert one.graph == many.graph
    assert (one.rows, many.rows) == (150, 150)


@pytest.mark.parametrize("seed", range(3))
def test_gaps_that_hang_on_an_effect_leave_the_graph_of_the_whole_table(seed):
    table = pd.DataFrame(harvest(seed), columns=HARVEST)
    whole = SiCL()(table)
    table.loc[table.crop > 0.5, ["soil", "light"]] = np.nan
    assert SiCL()(table).graph == whole.graph


def test_filled_gaps_do_not_hang_on_the_order_of_rows_and_columns():
    table = pd.DataFrame(harvest(rows=600), columns=HARVEST)
    table.loc[table.crop > 0.5, ["soil", "light"]] = np.nan
    one = SiCL()(table)
    two = SiCL()(table.sample(frac=1, random_state=1)[["crop", "light", "soil", "root", "leaf"]] * [-1, 2, 1, -5, 1])
    there = [two.names.index(name) for name in one.names]
    assert np.allclose(one.adjacent, two.adjacent[np.ix_(there, there)], atol=1e-4)
    assert two.graph.reordered(one.names) == one.graph


def test_rows_that_are_left_by_a_draw_of_the_rows_are_farther_apart():
    """A share f of the rows, at random, has the covariances of neighbours with probability f."""
    table = Table.from_frame(in_time(0.7, rows=1000))
    examined = ExaminedTable(table, variance_ratios=np.full((8, 8), 3.0), rows_given=1998)
    part = examined.part(np.arange(0, 999, 2))
    assert part.variance_ratios == pytest.approx(np.full((8, 8), 1 + 2 * 500 / 999))
    assert (len(part.table), part.rows_given) == (500, 1000)


def test_few_different_rows_of_fine_numbers_are_seen_as_repeated():
    rows = np.random.default_rng(0).standard_normal((40, 4))
    assert len(examine(Table.from_frame(np.tile(rows, (5, 1)))).table) == 40


def test_numbers_of_groups_make_no_repeated_rows():
    """Rows of twenty places with numbers of the place, and yes or no, agree by chance."""
    random = np.random.default_rng(1)
    places = random.standard_normal((20, 2))[random.integers(20, size=400)]
    table = Table.from_frame(np.column_stack([places, random.random((400, 2)) < 0.5]))
    assert len(examine(table).table) == 400


@pytest.mark.parametrize("in_time_too", [False, True])
def test_filled_cells_count_only_as_far_as_they_are_known(in_time_too):
    """A pair counts by the rows in which both were known before, and where rows are dependent too by both shares."""
    values = harvest(rows=1500)
    values[np.ix_(values[:, 4] > 0.5, [0, 1])] = np.nan
    examined = examine(Table.from_frame(pd.DataFrame(values, columns=HARVEST)))
    assert examined.chosen_gaps == (0, 1)
    ratios = np.full((5, 5), 2.0) if in_time_too else None
    found = evidence_of(replace(examined, variance_ratios=ratios), column_keys(examined.table))
    left = (~np.isnan(values[:, 0])).mean()
    expected = np.ones((5, 5))
    expected[:2], expected[:, :2] = left, left
    assert found.share == pytest.approx(expected / (2 if in_time_too else 1))


def test_the_score_adds_no_edge_where_the_network_is_distrusted(monkeypatch, network):
    """All pairs are improbable, and two of them so dependent that BIC joins them, where it may."""
    examined = examine(Table.from_frame(pd.DataFrame(harvest(rows=800), columns=HARVEST)))
    monkeypatch.setattr(Reading, "skeleton", property(lambda self: np.full((5, 5), -1.0)))
    edges = {}
    for distrust in (0.0, 0.5):
        monkeypatch.setattr(Reading, "distrust", property(lambda self, told=distrust: told))
        found = predict_graph(
            network, examined, threshold=0.5, collider_threshold=0.5, refine="auto", knowledge=Knowledge()
        )
        edges[distrust] = found.decoded.graph.skeleton.sum()
    assert edges[0.0] > 0
    assert edges[0.5] == 0
