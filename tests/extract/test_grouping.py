import math

import numpy as np
import pytest

from intaglio.extract.generate import Generated
from intaglio.extract.grouping import cluster, ranked, select, stopping_rule
from intaglio.extract.methods.direct import Direct


def planted(sizes, *, spreads=(0.2,) * 9, seed=0) -> Generated:
    """Unit descriptors around an axis of each group's own, each off it along a direction of its own."""
    total = sum(sizes)
    rows = np.zeros((total, 16 + total))
    axes = np.repeat(np.arange(len(sizes)), sizes)
    rows[np.arange(total), axes] = 1
    rows[np.arange(total), 16 + np.arange(total)] = np.array(spreads)[axes]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    order = np.random.default_rng(seed).permutation(total)
    return Generated(tuple(100 + int(i) for i in order), ("",) * total, rows[order].astype(np.float32), {})


def members(drawn, group):
    return sorted(drawn.seeds[i] - 100 for i in group.members)


@pytest.mark.parametrize("grouping", ["cliques", "complete"])
def test_planted_groups_come_back_the_largest_first(grouping):
    drawn = planted([2, 7, 4])
    method = Direct(pictures=3, generations=13, grouping=grouping)
    groups = ranked(cluster(method, drawn), drawn)
    assert [members(drawn, group) for group in groups] == [[*range(2, 9)], [*range(9, 13)], [0, 1]]
    for group in groups:
        rows = drawn.descriptors[list(group.members)]
        pairs = [float(rows[i] @ rows[j]) for i in range(len(rows)) for j in range(i)]
        assert group.cohesion == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
        assert group.lowest == pytest.approx(min(pairs), abs=1e-6)
        assert group.representative in group.members


def test_a_larger_group_always_outranks_a_smaller_and_a_tighter_one_a_looser():
    drawn = planted([3, 3, 4], spreads=(0.5, 0.1, 0.7))
    groups = ranked(cluster(Direct(pictures=3, generations=10), drawn), drawn)
    assert [members(drawn, group) for group in groups] == [[6, 7, 8, 9], [3, 4, 5], [0, 1, 2]]
    assert groups[1].cohesion == pytest.approx(1 / 1.01, abs=1e-6)
    assert groups[2].cohesion == pytest.approx(1 / 1.25, abs=1e-6)
    assert 3 < groups[2].score < groups[1].score < 4 < groups[0].score


def test_nobody_knows_how_many_returns_every_group_of_three():
    drawn = planted([5, 3, 2, 1])
    method = Direct(pictures=None, generations=11, threshold=0.6)
    groups = ranked(cluster(method, drawn), drawn)
    assert [len(group.members) for group in groups] == [5, 3, 2, 1]
    assert [len(group.members) for group in select(method, groups)] == [5, 3]
    assert math.isnan(groups[3].cohesion)
    assert groups[3].score == 1


def test_one_picture_sought_is_the_largest_group_at_the_set_threshold():
    drawn = planted([5, 3])
    method = Direct(pictures=1, generations=8, threshold=0.6)
    (group,) = select(method, ranked(cluster(method, drawn), drawn))
    assert members(drawn, group) == [0, 1, 2, 3, 4]


def test_settled_wants_the_same_pictures_in_so_many_rounds_after_the_first():
    enough = stopping_rule(Direct(pictures=2, generations=20, patience=2))
    one = planted([5, 3])
    assert [enough(drawn) for drawn in (one, one, one)] == [False, False, True]
    assert stopping_rule(Direct(patience=0)) is None
    moved = Generated(one.seeds, one.prompts, np.roll(one.descriptors, 3, axis=1), {})
    enough = stopping_rule(Direct(pictures=2, generations=20, patience=2))
    assert [enough(drawn) for drawn in (one, moved, one, one, one)] == [False, False, False, False, True]


def test_settled_waits_for_enough_pictures():
    enough = stopping_rule(Direct(pictures=9, generations=20, patience=1))
    assert not enough(planted([5, 3]))


def test_pictures_by_default_are_named_where_fewer_are_generated():
    with pytest.raises(ValueError, match=r"generations \(4\), .* not 10, the default; name fewer with --pictures"):
        Direct(generations=4)
