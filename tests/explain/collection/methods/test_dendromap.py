import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from intaglio.errors import BadInput
from intaglio.explain.collection.label_agreement import LabelColumn
from intaglio.explain.collection.methods import dendromap
from intaglio.explain.collection.methods.dendromap import DendroMap
from intaglio.explain.picture_features import TabledFeatures
from intaglio.images.image_set import ImageSet
from intaglio.runs.run import NullRun

SMALL = {"boxes": 3, "batch": 3}
BAD = {"centres": 1}
PIECES = {"batch": 2}
VARIANTS = {"centres": {"SMALL": {"linked": 5, "centres": 3}, "BAD": {"linked": 2}, "PIECES": {"batch": 2}}}


def hierarchy(each):
    """Points in R^6 in 2 far groups of 2 nearer ones of 2 near ones, and the group of each at the three levels."""
    random = np.random.default_rng(0)
    levels = np.array([[a, 2 * a + b, 4 * a + 2 * b + c] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    levels = levels.repeat(each, 0)
    away = np.eye(6)[[0, 1, 2]] * np.array([[100.0], [30.0], [8.0]])
    signs = np.stack([levels[:, 0], levels[:, 1] % 2, levels[:, 2] % 2], 1)
    order = random.permutation(len(levels))
    return (signs @ away + random.normal(0, 0.5, (len(levels), 6)))[order], levels[order]


def test_a_planted_hierarchy_is_found_at_each_of_its_levels():
    points, levels = hierarchy(9)
    tree = DendroMap().tree(points)
    for level, count in enumerate((2, 4, 8)):
        assert adjusted_rand_score(levels[:, level], tree.groups(tree.cut(count))) == 1.0


def test_a_nodes_height_is_wards_distance_of_its_own_children():
    points, _ = hierarchy(3)
    tree = DendroMap().tree(points)
    for (left, right), height in zip(tree.merges.tolist(), tree.heights.tolist(), strict=True):
        a, b = points[tree.members(left)], points[tree.members(right)]
        rise = len(a) * len(b) / (len(a) + len(b)) * ((a.mean(0) - b.mean(0)) ** 2).sum()
        assert height == pytest.approx((2 * rise) ** 0.5)


def test_more_pictures_than_can_be_linked_are_brought_to_centres(monkeypatch):
    """No linkage of more than `linked` rows; the levels are found; no node is lower than those below it."""
    linked, ward = [], dendromap.linkage
    monkeypatch.setattr(dendromap, "linkage", lambda rows, way: linked.append(len(rows)) or ward(rows, way))
    points, levels = hierarchy(9)
    method = DendroMap(linked=40, centres=24)
    tree = method.tree(points)
    assert max(linked) <= 24
    tree.check()
    for level, count in enumerate((2, 4, 8)):
        assert adjusted_rand_score(levels[:, level], tree.groups(tree.cut(count))) == 1.0
    below = tree.merges[tree.merges.max(1) >= tree.leaves]
    assert len(below)
    for node, pair in enumerate(tree.merges.tolist()):
        assert all(tree.heights[one - tree.leaves] <= tree.heights[node] for one in pair if one >= tree.leaves)
    assert method.memory(10**6, 6) < DendroMap(linked=40, centres=40).memory(10**6, 6)
    assert DendroMap().memory(8878, 0) == 8878 * 8877 // 2 * 8


def test_equal_pictures_beyond_the_limit_are_no_error():
    points = np.concatenate([np.zeros((30, 2)), np.ones((2, 2))])
    tree = DendroMap(linked=8, centres=8).tree(points)
    tree.check()
    assert adjusted_rand_score(points[:, 0], tree.groups(tree.cut(2))) == 1.0


def pictures(count):
    pixels = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return ImageSet.from_pixels(pixels, captions=[f"thing {'red' if k % 2 else 'blue'}" for k in range(count)])


class Notes(NullRun):
    def __init__(self):
        super().__init__(None, {}, "new", None, "none")
        self.said = []

    def warn(self, message):
        self.said.append(message)


def test_a_map_depends_neither_on_the_order_of_pictures_nor_on_labels_and_says_what_it_cannot_tell():
    images = pictures(12)
    rows = np.random.default_rng(0).normal(0, 0.1, (12, 3)) + np.arange(12)[:, None] % 2
    source = TabledFeatures(images.names, rows)
    labels = [LabelColumn.of("side", [str(k % 2) for k in range(12)]), LabelColumn.of("coin", list("abbaabbaabba"))]
    run = Notes()
    found = DendroMap(boxes=2)(source, images, labels, run=run)
    turned = images[list(range(12))[::-1]]
    again = DendroMap(boxes=2)(source, turned)
    assert (found.names, found.tree.merges.tolist()) == (again.names, again.tree.merges.tolist())
    side, coin = found.agreements
    assert (side.purity, side.information) == (1.0, 1.0)
    assert side.p < 0.02 < 0.5 < coin.p
    assert [row["words"] for row in found.rows()] in (["red", "blue"], ["blue", "red"])
    assert any("tell no more of coin than random boxes" in one for one in run.said)
    assert not any("more of side" in one for one in run.said)
    few = Notes()
    DendroMap(boxes=4)(source, images, run=few)
    assert any("12 pictures in 4 boxes are few" in one for one in few.said)


def test_what_cannot_be_mapped_is_refused():
    images = pictures(4)
    with pytest.raises(BadInput, match="4 pictures do not make 8 boxes; give 8 or more"):
        DendroMap()(TabledFeatures(images.names, np.eye(4)), images)
    with pytest.raises(BadInput, match="given features are the same for all pictures"):
        DendroMap(boxes=2)(TabledFeatures(images.names, np.ones((4, 2))), images)
