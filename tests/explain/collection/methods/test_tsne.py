import numpy as np

from intaglio.explain.collection.methods.tsne import TSNEMap, grid_tree

SMALL = {"boxes": 3, "batch": 3}
BAD = {"perplexity": 0.0}
PIECES = {"batch": 2}


def test_cells_of_a_plane_are_its_equally_full_rectangles():
    """64 points of an 8 x 8 lattice, wider than high: 16 cells are 2 x 2 points each."""
    places = np.random.default_rng(0).permutation(64)
    plane = np.stack([places % 8 * 1.01, places // 8], 1)
    tree = grid_tree(plane)
    cells = tree.cut(16)
    assert len(cells) == 16
    for cell in cells:
        np.testing.assert_allclose(np.ptp(plane[tree.members(cell)], axis=0), [1.01, 1.0])


def test_far_groups_are_cells_of_their_own():
    random = np.random.default_rng(0)
    groups = random.permutation(40) % 2
    tree = TSNEMap(perplexity=8.0).tree(groups[:, None] * 50 + random.normal(0, 1, (40, 3)))
    left, right = (groups[tree.members(cell)] for cell in tree.cut(2))
    assert len(set(left.tolist())) == len(set(right.tolist())) == 1
