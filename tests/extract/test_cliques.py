from itertools import combinations

import numpy as np
import pytest

from intaglio.errors import BadInput
from intaglio.extract.cliques import Partition, SimilarityGraph, partition, representatives, threshold_for


def symmetric(random: np.random.Generator, n: int) -> np.ndarray:
    half = np.triu(random.random((n, n)), 1)
    return half + half.T


def naive(similarity: np.ndarray, threshold: float) -> list[tuple[int, ...]]:
    """Every subset is looked at, and again after each removal; among equals the first in order."""
    left, groups = set(range(len(similarity))), []
    while left:
        for size in range(len(left), 0, -1):
            found = [
                members
                for members in combinations(sorted(left), size)
                if all(similarity[i, j] >= threshold for i, j in combinations(members, 2))
            ]
            if found:
                groups.append(found[0])
                left -= set(found[0])
                break
    return sorted(groups, key=lambda g: (-len(g), g))


def test_the_heap_peels_as_peeling_anew_does():
    random = np.random.default_rng(0)
    for _ in range(200):
        n = int(random.integers(1, 9))
        similarity = symmetric(random, n)
        threshold = float(random.random())
        found = partition(similarity, threshold)
        assert found.exact
        assert found.groups == naive(similarity, threshold)


def blocks() -> np.ndarray:
    """Five groups of four alike pictures, and three outliers."""
    similarity = np.full((23, 23), 0.1)
    for first in range(0, 20, 4):
        similarity[first : first + 4, first : first + 4] = 0.8
    return similarity


def test_blocks_and_outliers_are_eight_groups():
    found = threshold_for(blocks(), 8)
    assert [len(group) for group in found.groups] == [4] * 5 + [1] * 3
    assert found.threshold == pytest.approx(0.11)
    assert threshold_for(blocks(), 9).threshold == pytest.approx(0.81)


def test_the_threshold_is_the_lowest_on_the_grid_that_gives_enough():
    random = np.random.default_rng(1)
    for _ in range(20):
        similarity = symmetric(random, 8)
        count = int(random.integers(1, 9))
        found = threshold_for(similarity, count, lowest=0.0)
        places = [round(k * 0.01, 6) for k in range(101)]
        enough = [place for place in places if len(naive(similarity, place)) >= count]
        assert len(found.groups) >= count
        # Where the count does not rise strictly, a lower threshold may do as well; never a higher one.
        assert (
            enough[0]
            <= found.threshold
            <= next(
                place
                for place in places
                if all(len(naive(similarity, later)) >= count for later in places if later >= place)
            )
        )


def test_too_many_cliques_are_grouped_by_complete_linkage_into_cliques():
    similarity = symmetric(np.random.default_rng(2), 12)
    found = partition(similarity, 0.3, listed=1)
    assert not found.exact
    assert sorted(i for group in found.groups for i in group) == list(range(12))
    assert all(similarity[i, j] >= 0.3 - 1e-9 for group in found.groups for i, j in combinations(group, 2))


def test_the_order_of_pictures_changes_names_only():
    similarity = symmetric(np.random.default_rng(3), 10)
    order = np.random.default_rng(4).permutation(10)
    found = partition(similarity[np.ix_(order, order)], 0.4)
    assert sorted(map(len, found.groups)) == sorted(map(len, partition(similarity, 0.4).groups))


@pytest.mark.parametrize("count", [0, 4])
def test_more_groups_than_pictures_are_refused(count):
    with pytest.raises(BadInput, match=f"3 pictures cannot fall into {count} groups"):
        threshold_for(np.eye(3), count)


def test_one_picture_is_one_group():
    assert threshold_for(np.ones((1, 1)), 1).groups == [(0,)]


def test_a_representative_is_the_member_nearest_to_the_mean():
    descriptors = np.array([[0.0, 0.0], [1.0, 0.0], [0.4, 0.0], [9.0, 9.0]])
    assert representatives([(0, 1, 2), (3,)], descriptors) == [2, 3]


def test_a_large_part_is_linked_at_once_and_a_full_one_never_listed():
    full = np.ones((60, 60))
    assert SimilarityGraph(full, edges=10).at(0.5) == Partition([tuple(range(60))], 0.5, True)
    path = np.eye(40) + np.eye(40, k=1) + np.eye(40, k=-1)
    assert SimilarityGraph(path).at(0.5).exact
    found = SimilarityGraph(path, edges=10).at(0.5)
    assert not found.exact
    assert sorted(i for group in found.groups for i in group) == list(range(40))
    assert all(len(group) <= 2 for group in found.groups)


@pytest.mark.slow
def test_thousands_of_pictures_take_seconds():
    random = np.random.default_rng(0)
    axes = np.repeat(np.eye(64)[:20], 200, axis=0)
    rows = axes + 0.05 * random.normal(size=axes.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = partition((rows @ rows.T).astype(np.float32), 0.6)
    assert [len(group) for group in found.groups] == [200] * 20
