import itertools

import numpy as np
import pytest

from intaglio.explain.caption_words import CaptionWords
from intaglio.explain.collection.label_agreement import LabelColumn, agreement_of, of_commonest


def test_purity_is_the_share_of_the_commonest_label_of_a_box():
    boxes = np.array([5, 5, 5, 2, 2, 2, 2, 9])
    column = LabelColumn.of("kind", ["x", "x", "y", "y", "y", "z", "", "x"])
    known = column.codes >= 0
    hits = of_commonest(boxes[known], column.codes[known])
    assert hits.tolist() == [True, True, False, True, True, False, True]
    assert agreement_of(boxes, column, 0).purity == hits.mean() == 5 / 7
    assert column.commonest(np.array([3, 4, 5, 6])) == ("y", pytest.approx(2 / 3))
    assert column.commonest(np.array([6])) == ("", None)


def test_random_boxes_have_their_exact_purity_and_p():
    """All 90 ways to put 2 + 2 + 2 labels into boxes of 2, 2 and 2: mean purity by counting, and the share as sure."""
    boxes = np.array([0, 0, 1, 1, 2, 2])
    ways = set(itertools.permutations([0, 0, 1, 1, 2, 2]))
    expected = np.mean([of_commonest(boxes, np.array(way)).mean() for way in ways])
    found = agreement_of(boxes, LabelColumn.of("kind", list("aabbcc")), 0)
    assert found.purity == 1.0
    assert found.chance == pytest.approx(expected, abs=0.03)
    assert found.p == pytest.approx(6 / 90, abs=0.04)
    assert found.information == pytest.approx(1.0)
    assert agreement_of(boxes, LabelColumn.of("kind", ["a", *[""] * 5]), 0) is None


def test_a_label_that_nearly_all_have_may_be_told_at_the_purity_of_chance():
    boxes, labels = np.repeat([0, 1], 50), ["rare"] * 15 + ["common"] * 85
    found = agreement_of(boxes, LabelColumn.of("hand", labels), 0)
    assert found.purity == pytest.approx(0.85)
    assert found.chance == pytest.approx(0.85)
    assert found.p < 0.01


def test_wrong_answers_are_counted_where_both_are_known():
    column = LabelColumn.of("kind", ["x", "x", "y", ""], ["x", "z", "", "x"])
    assert column.wrong(np.arange(4)) == 0.5
    assert column.wrong(np.array([2, 3])) is None
    assert LabelColumn.of("kind", ["x"]).wrong(np.array([0])) is None


def test_words_of_a_group_are_those_beyond_their_share_of_all():
    captions = ["cat with hat, noto style", "cat, noto style", "dog, noto style", "dog, twemoji style", None]
    words = CaptionWords(captions)
    assert words.of(np.array([0, 1])) == ("cat", "noto", "style")
    assert words.of(np.array([2, 3])) == ("dog", "style")
    assert words.of(np.array([0])) == ("hat", "cat", "noto")
    assert words.of(np.array([0]), among=np.array([0, 1])) == ("hat",)
    assert words.of(np.array([4])) == ()
    assert words.of(np.arange(5)) == ()
