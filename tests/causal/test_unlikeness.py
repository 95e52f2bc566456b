"""Unlikeness: high where the network's own graph is wrong, low where it is right; reasons and remedies in words."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from assumption_tables import counted, harvest, in_time, simulated
from intaglio import SiCL
from intaglio.causal.methods.sicl.networks.weights import load_network, save_network
from intaglio.causal.methods.sicl.unlikeness import Unlikeness
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.tables.table import Table


def cells(seed: int = 0, rows: int = 800, columns: int = 10) -> np.ndarray:
    """Counts of genes without an edge: four types of cells, a depth, and a third of the counts dropped."""
    random = np.random.default_rng(seed)
    level = random.normal(1.0, 1.2, (4, columns))[random.integers(4, size=rows)]
    rate = np.exp(level + 0.3 * random.standard_normal((rows, 1)))
    return random.poisson(rate) * (random.random((rows, columns)) < 0.67) * 1.0


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> str:
    """Folder of the network without trees."""
    folder = tmp_path_factory.mktemp("networks") / "plain"
    save_network(replace(load_network("light"), recalibration=None), folder, "a card")
    return str(folder)


@pytest.fixture(scope="module")
def typed() -> Discovery:
    return SiCL()(cells())


def test_cell_types_give_doubt_and_fewer_edges(typed, plain):
    """Of 45 pairs, none of which is adjacent."""
    alone = SiCL(model=plain)(cells())
    assert typed.ood_score > 0.7
    assert len(typed.edges) < 0.6 * len(alone.edges)
    assert typed.adjacent.sum() < 0.75 * alone.adjacent.sum()


def test_sound_tables_keep_every_bit(plain):
    """Where the trees trust the network, it alone answers."""
    same = 0
    for k, (values, _) in zip(range(6), simulated(81_000_001, 8), strict=False):
        table = Table.from_frame(values[:500, :12])
        one, two = SiCL(refine=0.0)(table), SiCL(refine=0.0, model=plain)(table)
        trusted = one.ood_score < 0.05
        same += trusted
        assert not trusted or np.array_equal(one.adjacent, two.adjacent), k
        assert abs(one.adjacent - two.adjacent).mean() < 0.05
    assert same >= 2


def test_doubt_is_told_with_its_reasons_and_a_remedy(typed):
    told = " ".join(typed.warnings)
    assert "simulated tables like this one the network's own graph is worse than the empty graph (" in told
    assert "are counts with many zeros" in told
    assert typed.ood_reasons
    assert "Probability that the graph is worse than the empty graph: " in typed.summary()


@pytest.mark.parametrize("seed", range(2))
def test_a_weak_depth_of_counts_leaves_the_one_edge(seed):
    found = SiCL()(counted(0.15, seed))
    assert {frozenset((edge.source, edge.target)) for edge in found.edges} <= {frozenset(("x0", "x1"))}
    assert found.ood_score > 0.7
    assert any("`--latent`" in text for text in found.warnings)


def test_remedies_are_told():
    for table, words in (
        (in_time(0.7), "the answer counts them as so many"),
        (np.tile(harvest(rows=150), (2, 1)), "the answer counts each once"),
    ):
        assert any(words in text for text in SiCL()(table).warnings)


@pytest.mark.parametrize("rows", [200, 1000, 20_000])
def test_a_sound_table_is_hardly_doubted(rows):
    a, b, d, e = np.random.default_rng(0).standard_normal((4, rows))
    c = a + b + 0.5 * d
    found = SiCL(refine=0.0)(pd.DataFrame({"a": a, "b": b, "c": c, "d": c + 0.5 * e, "e": c + np.roll(e, 1)}))
    assert found.ood_score < 0.15
    assert found.warnings == ()


def test_the_score_of_a_network_without_trees_is_a_share():
    assert Unlikeness(9, ("one", "two"), ("three",)).score == pytest.approx(3 / 10)
    assert Unlikeness(0, ()).score == 0
    assert Unlikeness(9, ("one",), (), 0.25, ("four",)).score == 0.25
    assert Unlikeness(8, ("one", "two"), (), 0.1).score == 0.25, "far outside of what trees were learnt from"
    assert Unlikeness(8, ("one", "two"), (), 0.4).score == 0.4
    assert Unlikeness(9, ("one",), ("two",), 0.9, ("four",)).reasons == ("one", "two", "four")


@pytest.mark.parametrize("unlike", [Unlikeness(9, ("one",)), Unlikeness(8, ("one", "two"), (), 0.1)])
def test_a_score_that_is_a_share_of_features_says_so(unlike):
    """Without trees, and far outside of what they were learnt from."""
    assert unlike.reasons[-1] == (
        "the share of the table's features that the training did not have stands for the probability"
    )
