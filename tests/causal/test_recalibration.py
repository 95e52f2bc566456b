"""Recalibration: the mixture of network and trees, its reasons, its file, and what it is learnt from."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.special import expit

from intaglio import SiCL
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.methods.sicl.networks.recalibration import Recalibration
from intaglio.causal.methods.sicl.networks.weights import TrainedNetwork, fingerprint, load_network, save_network
from intaglio.causal.methods.sicl.training import fit_recalibration
from intaglio.causal.methods.sicl.training.curriculum import Curriculum
from intaglio.causal.methods.sicl.training.fit_recalibration import (
    FAMILIES,
    FIT_SEED,
    Lesson,
    area_under_curve,
    gather_lesson,
    judged,
    simulated_table,
)
from intaglio.errors import BadInput
from intaglio.learning.boosted_trees import BoostedTrees
from intaglio.runs.run import Run


def stump(feature: int, features: int, at: float, low: float, high: float) -> BoostedTrees:
    """One split: log-odds `low` up to the threshold, `high` above."""
    return BoostedTrees(
        feature=np.array([feature, -1, -1], np.int32),
        threshold=np.array([at, 0, 0], np.float64),
        missing_left=np.zeros(3, bool),
        left=np.array([1, 0, 0], np.int32),
        right=np.array([2, 0, 0], np.int32),
        value=np.array([0, low, high], np.float64),
        roots=np.zeros(1, np.int32),
        baseline=np.zeros(1),
        features=features,
    )


def recalibration(worse: float = 9.0) -> Recalibration:
    """Of two features of a table: the first decides both probabilities; of pairs the first does."""
    return Recalibration(
        stump(0, 3, 0.0, -2.0, 1.5), stump(0, 2, 0.5, -9.0, worse), stump(0, 2, 0.5, -9.0, 9.0), np.zeros(2)
    )


@pytest.mark.parametrize(("worse", "expected"), [(9.0, 1.0), (-9.0, 0.0), (float(np.log(0.175 / 0.825)), 0.5)])
def test_distrust_rises_between_two_probabilities(worse, expected):
    """0 up to 0.05, 1 from 0.3, and halfway at 0.175."""
    assert recalibration(worse).distrust(np.array([1.0, 0.0])) == pytest.approx(expected)


def test_probabilities_are_a_mixture_of_both():
    logits = np.array([[-np.inf, 3.0, -3.0], [3.0, -np.inf, 0.0], [-3.0, 0.0, -np.inf]])
    pairs = np.array([[1.0, 0, 0], [-1.0, 0, 0], [-1.0, 0, 0]])
    found = recalibration().mixed(logits, pairs, 0.25)
    expected = [0.75 * expit(x) + 0.25 * expit(y) for x, y in ((3.0, 1.5), (-3.0, -2.0), (0.0, -2.0))]
    assert expit(found[np.triu_indices(3, 1)]) == pytest.approx(expected)
    assert np.array_equal(found, found.T)
    assert recalibration().mixed(logits, pairs, 0.0) is logits


def test_reasons_are_groups_whose_typical_values_would_change_the_probability():
    groups = {"the first": 1, "the second": 1}
    assert recalibration().reasons(np.array([1.0, 1.0]), groups) == ("the first",)
    assert recalibration().reasons(np.array([0.0, 1.0]), groups) == ()


def test_trees_are_the_same_when_read_again(tmp_path):
    one = recalibration(0.7)
    one.save(tmp_path / "trees.safetensors")
    two = Recalibration.load(tmp_path / "trees.safetensors")
    rows = np.random.default_rng(0).standard_normal((50, 2))
    assert np.allclose(one.worse.log_odds(rows), two.worse.log_odds(rows), atol=1e-7)
    assert np.array_equal(one.typical, two.typical)


@pytest.mark.parametrize("lost", ["pairs.feature", "worse.roots", "typical.value"])
def test_a_damaged_file_is_named(tmp_path, lost):
    path = tmp_path / "trees.safetensors"
    recalibration().save(path)
    arrays = load_file(path)
    del arrays[lost]
    save_file(arrays, path)
    with pytest.raises(BadInput, match=r"trees.safetensors.*take the"):
        Recalibration.load(path)


def test_trees_over_other_features_are_refused():
    with pytest.raises(BadInput, match="trees over different features"):
        Recalibration(stump(0, 3, 0, 0, 1), stump(0, 2, 0, 0, 1), stump(0, 2, 0, 0, 1), np.zeros(4))


@pytest.fixture(scope="module")
def network() -> TrainedNetwork:
    return replace(load_network("light"), recalibration=None)


def test_a_network_keeps_its_trees_in_its_folder(network, tmp_path):
    save_network(network, tmp_path / "without", "a card")
    save_network(replace(network, recalibration=recalibration()), tmp_path / "with", "a card")
    assert load_network(str(tmp_path / "without")).recalibration is None
    assert load_network(str(tmp_path / "with")).recalibration is not None
    assert fingerprint(tmp_path / "without") != fingerprint(tmp_path / "with")


def test_a_network_without_trees_answers_as_before(network, tmp_path):
    """Its unlikeness is the share of features outside of their range, and no logit changes."""
    save_network(network, tmp_path / "plain", "a card")
    table = np.random.default_rng(0).standard_normal((200, 4)) @ np.triu(np.ones((4, 4)))
    found = SiCL(model=str(tmp_path / "plain"))(table)
    assert (found.ood_score, found.ood_reasons) == (0.0, ())


# Learning


def test_tables_are_a_function_of_seed_and_index():
    for index in (0, 4, 6):
        (family, one, graph), (_, two, other) = (simulated_table(Curriculum(), 5, index) for _ in range(2))
        assert family == FAMILIES[index]
        assert one.content_hash == two.content_hash
        assert graph == other
        assert graph.names == one.names


def test_a_judged_table_holds_the_truth_of_its_pairs(network):
    _, table, truth = simulated_table(Curriculum(), FIT_SEED, 1)
    found = judged(network, "repeated", table, truth)
    upper = np.triu_indices(len(table.names), 1)
    assert np.array_equal(found.adjacent, truth.skeleton[upper])
    assert found.empty == truth.skeleton.sum() // 2
    assert found.pairs.shape[0] == len(upper[0])
    assert found.unaided >= 0


def test_a_killed_gathering_goes_on_where_it_was(network, tmp_path, monkeypatch):
    def opened():
        return Run.open(tmp_path, "causal", "recalibrate", {}, {}, seed=0, device="cpu", command=(), progress="none")

    def quick(trained, index):
        seen.append(index)
        if len(seen) == 70:
            raise KeyboardInterrupt
        pairs = np.random.default_rng(index).standard_normal((100, 3))
        return fit_recalibration.JudgedTable("rare", pairs, pairs[0, :2], pairs[:, 0] > 0, pairs[:, 0], 1, 2, 3)

    seen: list[int] = []
    monkeypatch.setattr(fit_recalibration, "simulated_table", lambda curriculum, seed, index: (index,))
    monkeypatch.setattr(fit_recalibration, "judged", quick)
    with pytest.raises(KeyboardInterrupt), opened() as run:
        gather_lesson(network, Curriculum(), 80, run)
    with opened() as run:
        found = gather_lesson(network, Curriculum(), 80, run)
    assert seen == [*range(70), *range(50, 80)], "from the last state, after 50 tables"
    again = gather_lesson(network, Curriculum(), 80)
    assert all(np.array_equal(getattr(found, name), getattr(again, name)) for name in vars(again))
    assert (found.pairs.shape, found.tables.shape) == ((80 * 80, 3), (80, 2))
    assert found.weights == pytest.approx(np.full(80 * 80, 10 / 80))


def test_what_is_learnt_is_what_is_there():
    """Pairs are adjacent where the first feature is high, answers worse where the second one is."""
    rng = np.random.default_rng(0)
    pairs, tables = rng.standard_normal((2000, 8)), rng.standard_normal((600, 7))
    lesson = Lesson(pairs, pairs[:, 0] > 0, np.ones(2000), tables, tables[:, 1] > 0.5, tables[:, 1] > 0)
    found = lesson.trees()
    assert found.pairs.probability(np.array([[2.0] + [0] * 7, [-2.0] + [0] * 7])) == pytest.approx([1, 0], abs=0.05)
    assert found.unlikeness(np.array([0.0, 0.2, *[0.0] * 5])) < 0.05, "the second threshold is that of another graph"
    assert found.unlikeness(np.array([0.0, 1.5, *[0.0] * 5])) > 0.9
    assert found.distrust(np.array([0.0, 0.2, *[0.0] * 5])) == 0
    assert found.distrust(np.array([0.0, 1.5, *[0.0] * 5])) == 1
    assert found.typical == pytest.approx(np.median(tables[tables[:, 1] <= 0], 0))


def test_too_few_tables_are_named(network, monkeypatch):
    graph = Graph.from_adjacency("CPDAG", np.zeros((2, 2), bool), ("a", "b"))
    assert graph is not None
    one = fit_recalibration.JudgedTable("sound", np.zeros((1, 3)), np.zeros(2), np.array([False]), np.zeros(1), 0, 0, 0)
    monkeypatch.setattr(fit_recalibration, "judged", lambda *given: one)
    with pytest.raises(BadInput, match="10 tables have no answers both better and worse than no edge; take hundreds"):
        fit_recalibration.fit_recalibration(network, Curriculum(), 10, 1)


def test_the_area_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(5, size=40).astype(float), rng.random(40) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    assert area_under_curve(scores, positive) == pytest.approx(np.mean(pairs))
    assert np.isnan(area_under_curve(scores, np.zeros(40, bool)))
