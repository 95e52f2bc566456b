"""Boosted trees as arrays: equal to scikit-learn's, refused where damaged."""

import re

import numpy as np
import pytest
from scipy.special import logit

from intaglio.errors import BadInput
from intaglio.learning import boosted_trees
from intaglio.learning.boosted_trees import BoostedTrees, fit_boosted_trees, trees_of

SETTINGS = {"max_iter": 12, "max_leaf_nodes": 7, "min_samples_leaf": 5, "early_stopping": False}


def rows_and_classes(n=400, seed=0):
    random = np.random.default_rng(seed)
    rows = random.standard_normal((n, 3))
    second = (rows[:, 0] * rows[:, 1] > 0) ^ (random.random(n) < 0.1)
    rows[random.random((n, 3)) < 0.15] = np.nan  # missing cells must go the way that was learnt
    return rows, second


@pytest.mark.parametrize("at_once", [2_000_000, 100])
def test_the_walk_is_scikit_learns(monkeypatch, at_once):
    from sklearn.ensemble import HistGradientBoostingClassifier

    monkeypatch.setattr(boosted_trees, "MOST_AT_ONCE", at_once)
    rows, second = rows_and_classes()
    learnt = HistGradientBoostingClassifier(random_state=0, **SETTINGS).fit(rows, second)
    fresh, _ = rows_and_classes(seed=1)
    fresh[0] = np.nan
    fresh[1] = [np.inf, -np.inf, 0]
    found = trees_of(learnt)
    np.testing.assert_allclose(found.log_odds(fresh), learnt.decision_function(fresh), atol=1e-12)
    np.testing.assert_allclose(found.probability(fresh), learnt.predict_proba(fresh)[:, 1], atol=1e-12)


def test_they_are_learnt_alike_for_one_seed_and_by_weights():
    rows, second = rows_and_classes()
    weights = np.where(second, 3.0, 1.0)
    one, two = (fit_boosted_trees(rows, second, seed=3, weights=weights, **SETTINGS) for _ in range(2))
    np.testing.assert_array_equal(one.log_odds(rows), two.log_odds(rows))
    plain = fit_boosted_trees(rows, second, seed=3, **SETTINGS)
    assert one.baseline[0] == pytest.approx(logit(3 * second.sum() / (3 * second.sum() + (~second).sum())))
    assert plain.baseline[0] == pytest.approx(logit(second.mean()))


def test_arrays_make_the_same_trees():
    rows, second = rows_and_classes()
    trees = fit_boosted_trees(rows, second, seed=0, **SETTINGS)
    again = BoostedTrees.from_arrays(trees.arrays())
    np.testing.assert_array_equal(again.log_odds(rows), trees.log_odds(rows))


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("left", lambda left: np.zeros_like(left), "lead back or nowhere"),
        ("right", lambda right: right + np.int32(10_000), "lead back or nowhere"),
        ("roots", lambda roots: roots + np.int32(10_000), "unknown features or roots"),
        ("feature", lambda feature: feature + np.int32(3), "lead back|unknown features"),
        ("value", lambda value: value * np.nan, "not finite"),
        ("threshold", lambda threshold: threshold[:-1], "trees with threshold"),
        ("left", lambda left: left.astype(np.int64), "trees with left"),
    ],
)
def test_damaged_arrays_are_refused(name, change, says):
    rows, second = rows_and_classes()
    arrays = fit_boosted_trees(rows, second, seed=0, **SETTINGS).arrays()
    with pytest.raises(BadInput) as told:
        BoostedTrees.from_arrays({**arrays, name: change(arrays[name])})
    assert re.search(says, str(told.value))
    with pytest.raises(BadInput, match=f"without '{name}'"):
        BoostedTrees.from_arrays({key: value for key, value in arrays.items() if key != name})


def test_another_number_of_features_is_refused():
    rows, second = rows_and_classes()
    with pytest.raises(BadInput, match="2 features for trees over 3"):
        fit_boosted_trees(rows, second, seed=0, **SETTINGS).log_odds(rows[:, :2])
