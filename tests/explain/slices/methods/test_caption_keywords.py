import numpy as np
import pytest

from intaglio.errors import BadInput
from intaglio.explain.slices.judged_rows import JudgedRows
from intaglio.explain.slices.methods.caption_keywords import CaptionKeywords
from slice_scenes import rows

SMALL = {"slices": 2, "batch": 16}
BAD = {"shrinkage": -1.0}
PIECES = {"batch": 7}


def test_the_word_of_wrong_answers_is_found_and_no_word_of_right_ones():
    given = rows()
    found = CaptionKeywords().find(given)
    assert [one.told for one in found] == ["the word odd"]
    np.testing.assert_array_equal(found[0].inside(given), ["odd" in one for one in given.captions])


def test_a_word_of_one_picture_is_shrunk_behind_one_of_many():
    captions = ("once", *["often"] * 9, *["plain"] * 90)
    called = np.array([1] * 10 + [0] * 90)
    given = JudgedRows(np.zeros((100, 1)), np.zeros((100, 1)), np.zeros(100, int), called, captions, 2)
    assert [one.told for one in CaptionKeywords().find(given)] == ["the word often", "the word once"]


def test_a_score_is_the_difference_of_shrunken_shares():
    # "rare" stands in 2 of 4 wrong and 1 of 6 right: with k = 10 and p = 3/10, (2 + 3) / 14 against (1 + 3) / 16
    captions = ("rare", "rare", "more", "more", "rare", "none", "none", "none", "none", "none")
    called = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    given = JudgedRows(np.zeros((10, 1)), np.zeros((10, 1)), np.zeros(10, int), called, captions, 2)
    assert [one.told for one in CaptionKeywords(shrinkage=10.0).find(given)] == ["the word more", "the word rare"]
    assert (2 + 2) / 14 - (0 + 2) / 16 > (2 + 3) / 14 - (1 + 3) / 16 > 0


def test_pictures_without_captions_are_refused():
    given = JudgedRows(np.zeros((2, 1)), np.zeros((2, 1)), np.array([0, 1]), np.array([1, 1]), (None, ""), 2)
    with pytest.raises(BadInput, match="the pictures have no captions"):
        CaptionKeywords().find(given)
