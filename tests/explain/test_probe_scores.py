"""Folds, fits and scores of probes, beside scikit-learn's own, and what may not be seen by a fit."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from intaglio.errors import BadInput
from intaglio.explain.kept_labels import kept_labels
from intaglio.explain.probe_scores import (
    CellAnswers,
    balanced_accuracy,
    balanced_interval,
    cell_answers,
    chosen_answers,
    difference_interval,
    folds_of,
    plain_answers,
    shuffled,
)

STRENGTHS = (1e-4, 0.1, 30.0)


def sklearns(features, truth, folds, strength):
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=1000))
    return cross_val_predict(probe, features, truth, cv=PredefinedSplit(folds))


@pytest.fixture
def planted():
    """60 rows of three classes, of which the first of five features says something; scales differ by 10^4."""
    random = np.random.default_rng(0)
    truth = np.arange(60) % 3
    features = random.standard_normal((60, 5)) + np.stack([truth, *[np.zeros(60)] * 4], 1)
    return features * np.array([1.0, 10.0, 0.01, 100.0, 1.0]), truth, folds_of(truth, np.arange(60), 4, 0)


def test_answers_and_accuracy_are_scikit_learns(planted):
    features, truth, folds = planted
    expected = sklearns(features, truth, folds, 0.1)
    np.testing.assert_array_equal(plain_answers(features, truth, folds, 0.1), expected)
    np.testing.assert_array_equal(cell_answers(features, truth, folds, (0.1,)).predicted, expected)
    assert balanced_accuracy(truth, expected) == pytest.approx(balanced_accuracy_score(truth, expected), abs=1e-12)


def test_the_strength_is_the_best_of_a_cross_validation_within_the_other_folds(planted):
    features, truth, folds = planted
    found = cell_answers(features, truth, folds, STRENGTHS)
    for f in range(4):
        rest = folds != f
        within = [sklearns(features[rest], truth[rest], folds[rest], one) for one in STRENGTHS]
        scores = [balanced_accuracy_score(truth[rest], one) for one in within]
        best = STRENGTHS[int(np.argmax(scores))]
        assert (found.inner[f], found.strengths[f]) == (pytest.approx(max(scores), abs=1e-12), best)
        np.testing.assert_array_equal(found.predicted[~rest], sklearns(features, truth, folds, best)[~rest])
    assert len(set(found.strengths)) > 1


def test_nothing_of_a_fold_is_seen_by_its_own_answers(planted):
    """Neither its labels nor the scale of its features; another row of the fold may be anything."""
    features, truth, folds = planted
    before = cell_answers(features, truth, folds, STRENGTHS)
    for f in (0, 3):
        mine = np.flatnonzero(folds == f)
        labels, values = truth.copy(), features.copy()
        labels[mine] = np.roll(labels[mine], 1)
        values[mine[0]] += 1e6
        after = cell_answers(values, labels, folds, STRENGTHS)
        np.testing.assert_array_equal(after.predicted[mine[1:]], before.predicted[mine[1:]])
        assert (after.inner[f], after.strengths[f]) == (before.inner[f], before.strengths[f])


def test_the_cell_of_a_fold_is_the_best_within_the_others():
    folds = np.array([0, 0, 1, 1])
    one = CellAnswers(np.array([1, 1, 1, 1]), np.array([0.5, 0.9]), (1.0, 1.0), True)
    two = CellAnswers(np.array([2, 2, 2, 2]), np.array([0.6, 0.2]), (1.0, 1.0), True)
    found, picks = chosen_answers([one, two], folds)
    assert (found.tolist(), picks) == ([2, 2, 1, 1], (1, 0))


def test_groups_stay_in_one_fold_and_shares_of_classes_are_alike():
    truth, groups = np.arange(80) % 2, np.arange(80) // 4
    folds = folds_of(truth, groups, 5, 1)
    assert all(len(set(folds[groups == one])) == 1 for one in range(20))
    assert [[int((truth[folds == f] == one).sum()) for one in (0, 1)] for f in range(5)] == [[8, 8]] * 5
    assert not np.array_equal(folds, folds_of(truth, groups, 5, 2))


def test_shuffles_keep_a_label_that_groups_have_alike_and_mix_others():
    groups = np.arange(30) // 3
    alike, mixed = groups % 2, np.arange(30) % 2
    of_groups, of_rows = (shuffled(one, groups, 0, 3) for one in (alike, mixed))
    assert all(len(set(of_groups[groups == one])) == 1 for one in range(10))
    assert not np.array_equal(of_groups, alike)
    assert not np.array_equal(of_rows, mixed)
    assert (of_groups.sum(), of_rows.sum()) == (15, 15)
    assert not np.array_equal(of_rows, shuffled(mixed, groups, 0, 4))


def test_one_label_that_differs_within_a_group_leaves_the_others_together():
    groups = np.arange(64) // 8
    truth = groups % 2
    truth[3] = 1
    whole = [
        sum(len(set(shuffled(truth, groups, 0, number)[groups == one])) == 1 for one in range(8))
        for number in range(20)
    ]
    assert min(whole) >= 6  # of eight groups; picture by picture none would be
    assert {int(shuffled(truth, groups, 0, number).sum()) for number in range(20)} == {int(truth.sum())}


def test_twins_do_not_narrow_an_interval():
    """With each picture there twice, resampled by twos, the interval is that of the pictures themselves."""
    random = np.random.default_rng(0)
    truth = np.arange(60) % 3
    predicted = np.where(random.random(60) < 0.6, truth, 0)
    alone = balanced_interval(truth, predicted, np.arange(60))
    twins = [np.repeat(one, 2) for one in (truth, predicted, np.arange(60))]
    assert balanced_interval(*twins) == pytest.approx(alone, abs=1e-12)
    assert alone[0] < balanced_accuracy(truth, predicted) < alone[1]
    assert difference_interval(truth, predicted, predicted, np.arange(60)) == (0, 0)
    better = difference_interval(truth, truth, predicted, np.arange(60))
    assert better == pytest.approx((1 - alone[1], 1 - alone[0]), abs=1e-12)


def test_labels_of_few_pictures_or_groups_are_dropped():
    texts = ["a"] * 6 + ["b"] * 6 + ["c"] * 3 + [""]
    (kept,) = kept_labels({"sort": texts, "own": [str(k) for k in range(16)]}, None, 5)
    assert (kept.classes, kept.dropped, kept.rows.tolist()) == (("a", "b"), (("c", 3),), list(range(12)))
    twins = ["x"] * 3 + [""] * 13  # three of the pictures are one
    with pytest.raises(BadInput, match=r"no column \(sort\) has two labels of 5 groups or more"):
        kept_labels({"sort": texts}, twins, 5)
