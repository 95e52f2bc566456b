"""The tiles of treemaps: rectangles tile the plane, keep to shares, and every picture is in one box of each level."""

import numpy as np
import pytest

from intaglio.explain.collection.merge_tree import nested_tree
from intaglio.explain.collection.tile_layout import split_length, treemap_views


def random_tree(leaves, seed):
    """Parts of very different sizes."""
    random = np.random.default_rng(seed)

    def parts(members):
        cut = int(np.clip(len(members) * random.beta(0.6, 0.6), 1, len(members) - 1))
        return members[:cut], members[cut:]

    return nested_tree(leaves, parts, lambda members: float(len(members)))


def tiled(plane):
    """The grid with the number of the box of each tile; every tile must be one box's."""
    grid = np.zeros((plane.rows, plane.columns), int) - 1
    for place, (left, top, width, height) in enumerate(plane.rectangles):
        part = grid[top : top + height, left : left + width]
        assert part.shape == (height, width)
        assert part.size
        assert (part == -1).all(), "no overlap"
        part[:] = place
    assert (grid >= 0).all(), "no gap"
    return grid


@pytest.mark.parametrize("seed", range(4))
def test_boxes_tile_each_view_and_every_leaf_is_in_one_of_each_level(seed):
    tree = random_tree(300, seed)
    tiles = sorted(range(300), key=lambda one: int(tree.starts[one]))
    views = treemap_views(tree, tiles, 8)
    places = {view.node: number for number, view in enumerate(views)}
    assert len(places) == len(views)
    for number, view in enumerate(views):
        inside = np.concatenate([tree.members(one) for one in view.boxes])
        assert inside.tolist() == tree.members(view.node).tolist()
        assert view.above == -1 if number == 0 else number in views[view.above].opens
        assert view.opens == tuple(places.get(one, -1) for one in view.boxes)
        assert all(opens >= 0 or tree.counts[one] == 1 for opens, one in zip(view.opens, view.boxes, strict=True))
        for plane in view.planes:
            tiled(plane)
            assert plane.columns * plane.rows >= tree.counts[view.node]
    assert sum(plane.short for view in views for plane in view.planes) < 0.02 * 2 * sum(len(v.boxes) for v in views)


def test_each_split_keeps_to_its_share_within_one_tile():
    """All shares of two parts on a plane of 12 x 9, each with one tile a picture."""
    for first in range(1, 107):
        cut = split_length(12, 9, first / 107, (1, 1), (first, 107 - first))
        assert 1 <= cut <= 11
        assert abs(cut - 12 * first / 107) < 1 or cut in (1, 11)
    assert split_length(2, 8, 1e-4, (3, 5), (1, 9999)) == 1
    assert split_length(8, 2, 1e-4, (3, 5), (3, 30000)) == 3, "each of three boxes gets a tile"


def test_clusters_are_tiles_that_do_not_open():
    tree = random_tree(300, 9)
    clusters = tree.cut(20)
    views = treemap_views(tree, clusters, 8)
    last = [one for view in views for one, opens in zip(view.boxes, view.opens, strict=True) if opens < 0]
    assert sorted(last) == sorted(clusters)
    assert views[0].planes[0].columns < 12
