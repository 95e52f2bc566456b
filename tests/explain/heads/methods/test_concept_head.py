import numpy as np
import pytest

from intaglio.errors import BadInput
from intaglio.explain.heads.concept_reading import (
    SPARSITIES,
    concept_scores,
    fitted_concepts,
    kept_scores,
    unit_centres,
)
from intaglio.explain.heads.methods.concept_head import ConceptHead
from intaglio.explain.heads.result import kept_area

SMALL = {"folds": 3, "strengths": (0.1,), "side": 2, "batch": 8, "concepts": 8}
BAD = {"sparsity": 0.4}
PIECES = {"batch": 4}


def test_the_area_is_that_of_trapezoids_by_hand():
    # widths .1 .2 .2 .2 .2 .05 .03 of shares 1 1 1 1 .5 .5 .25 0
    shares = (1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.0)
    by_hand = 0.1 + 0.2 + 0.2 + 0.2 * 0.75 + 0.2 * 0.5 + 0.05 * 0.375 + 0.03 * 0.125
    assert kept_area(tuple(0.8 * one for one in shares), 0.8, SPARSITIES) == pytest.approx(by_hand)


def test_scores_at_most_the_place_in_ascending_order_go_and_equal_ones_together():
    row = np.array([[3.0, -1.0, 0.5, -4.0, 2.0]])
    assert kept_scores(row, 0.0).tolist() == [[3.0, -1.0, 0.0, -4.0, 2.0]]  # one goes even here
    assert kept_scores(row, 0.5).tolist() == [[3.0, 0.0, 0.0, -4.0, 0.0]]  # place 2, of size 2, goes too
    assert kept_scores(row, 0.7).tolist() == [[0.0, 0.0, 0.0, -4.0, 0.0]]  # place 3
    ties = np.array([[1.0, -1.0, 1.0, 5.0]])
    assert kept_scores(ties, 0.0).tolist() == [[0.0, 0.0, 0.0, 5.0]]
    many = np.arange(1.0, 51.0)[None]
    assert not kept_scores(many, 0.98).any()  # place 49 of 50 is the largest
    assert (kept_scores(np.arange(1.0, 52.0)[None], 0.98) != 0).sum() == 1
    # 100 * 0.29 is below 29 in floating point
    assert (kept_scores(np.arange(1.0, 101.0)[None], 0.29) != 0).sum() == 70


def test_one_hot_features_of_200_labels_lose_nothing():
    truth = np.repeat(np.arange(200), 2)
    places = np.eye(200)[truth][:, None]
    head = fitted_concepts(np.eye(200), places, truth, np.arange(400), (1.0,), 0, 0.9)
    accuracies = tuple(float((one == truth).mean()) for one in head.by_level(places))
    assert kept_area(accuracies, 1.0, SPARSITIES) == pytest.approx(0.98, abs=0.01)


def test_concepts_are_unit_centres_and_scores_are_normalised_over_concepts():
    random = np.random.default_rng(0)
    planted = np.array([[3.0, 0, 0], [0, 5.0, 0], [0, 0, 2.0], [4.0, 4.0, 0]])
    rows = np.repeat(planted, 25, 0) + 0.01 * random.standard_normal((100, 3))
    found = unit_centres(rows, 4, 0)
    unit = planted / np.linalg.norm(planted, axis=1, keepdims=True)
    assert (unit @ found.T).max(1).min() > 0.999
    scores = concept_scores(rows, found)
    plain = rows @ found.T
    expected = (plain - plain.mean(1, keepdims=True)) / plain.std(1, keepdims=True)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
    with pytest.raises(BadInput, match="hardly differ"):
        unit_centres(np.ones((100, 3)), 4, 0)


def test_too_few_places_and_too_few_concepts_are_told():
    places = np.random.default_rng(0).standard_normal((20, 1, 5))
    few, empty = ConceptHead().further_warnings(places)
    assert "places for 10 concepts, not for 200" in few
    assert "of 10 concepts none is left at sparsity 0.9, 0.95, 0.98" in empty
