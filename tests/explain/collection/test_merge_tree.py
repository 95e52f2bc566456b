import numpy as np
import pytest

from intaglio.explain.collection.merge_tree import MergeTree, halves, nested_tree
from intaglio.explain.collection.tile_layout import treemap_views


def test_a_cut_opens_the_highest_node_by_its_own_height():
    """The nodes 4 = {0, 1} at 1, 5 = {2, 3} at 2 and 6 at 9: the third box comes of 5, though both are joined at 9."""
    tree = MergeTree(np.array([[0, 1], [3, 2], [4, 5]]), np.array([1.0, 2.0, 9.0]))
    tree.check()
    assert tree.order.tolist() == [0, 1, 3, 2]
    assert [tree.cut(count) for count in (1, 2, 3, 9)] == [[6], [4, 5], [4, 3, 2], [0, 1, 3, 2]]
    assert tree.cut(9, closed=frozenset({4})) == [4, 3, 2]
    assert tree.groups([4, 3]).tolist() == [0, 0, -1, 1]


def test_a_chain_of_3000_leaves_is_no_deep_call():
    count = 3000
    merges = [[0, 1], *([count + k - 2, k] for k in range(2, count))]
    tree = MergeTree(np.array(merges), np.arange(1.0, count))
    tree.check()
    assert tree.order.tolist() == list(range(count))
    assert tree.cut(3) == [2 * count - 4, count - 2, count - 1]
    assert len(treemap_views(tree, tree.cut(100), 8)) == 15, "each opens 7 leaves and the rest of the chain"
    again = nested_tree(count, lambda members: (members[:-1], members[-1:]), lambda members: float(len(members)))
    assert again.order.tolist() == list(range(count))


def test_several_parts_are_one_cut_of_as_many():
    parts = {7: [np.arange(3), np.arange(3, 6), np.arange(6, 7)]}
    tree = nested_tree(7, lambda members: parts.get(len(members), halves(members)), lambda members: float(len(members)))
    tree.check()
    assert [tree.members(one).tolist() for one in tree.cut(3)] == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("merges", [[[0, 1], [0, 2]], [[0, 4], [1, 2]], [[0, 1], [2, 9]]])
def test_what_is_no_tree_is_told(merges):
    with pytest.raises(ValueError, match="no tree"):
        MergeTree(np.array(merges), np.ones(2)).check()
