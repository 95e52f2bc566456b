import numpy as np
from sklearn.metrics import adjusted_rand_score

from intaglio.explain.collection.methods.kmeans import KMeansMap

SMALL = {"boxes": 3, "batch": 3}
BAD = {"boxes": 1}
PIECES = {"batch": 2}


def test_boxes_are_those_of_k_means_and_fall_into_k_again():
    random = np.random.default_rng(0)
    middles = np.array([[0, 0], [40, 0], [0, 40]])
    inner = np.array([[0, 0], [4, 0], [0, 4]])
    outer_of, inner_of = np.divmod(random.permutation(54) % 9, 3)
    tree = KMeansMap(boxes=3).tree(middles[outer_of] + inner[inner_of] + random.normal(0, 0.1, (54, 2)))
    tree.check()
    boxes = tree.cut(3)
    assert adjusted_rand_score(outer_of, tree.groups(boxes)) == 1.0
    for box in boxes:
        inside = tree.members(box)
        assert adjusted_rand_score(inner_of[inside], tree.groups(tree.cut(3, box))[inside]) == 1.0


def test_equal_pictures_end_as_single_ones_too():
    tree = KMeansMap(boxes=2).tree(np.array([[0.0]] * 9 + [[1.0]]))
    tree.check()
    assert sorted(len(tree.members(box)) for box in tree.cut(2)) == [1, 9]
