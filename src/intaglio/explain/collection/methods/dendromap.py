"""dendromap: the tree of Ward's linkage."""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.cluster.hierarchy import linkage
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from intaglio.errors import require
from intaglio.explain.collection.family import CollectionMapper
from intaglio.explain.collection.merge_tree import MergeTree, halves, nested_tree


@dataclass(frozen=True, kw_only=True)
class DendroMap(CollectionMapper):
    """DendroMap: pictures joined by Ward's linkage, shown as a treemap that is opened box by box.

    Each picture x in R^d is a cluster at first; the two clusters A, B are joined that add least to the sum of squares
    about means, at the height sqrt(2 |A| |B| / (|A| + |B|)) |mean A - mean B| in Euclidean distance. A node is opened
    by this height of its own. The distances of all pairs are held, 8 bytes each (n (n - 1) / 2 of them); of more
    pictures than `linked`, k-means makes `centres`, which are linked as one point each, and the pictures of a centre
    among themselves, no node then being lower than those below it.

    Source: Bertucci et al., arXiv 2205.06935.
    """

    reading: ClassVar[str] = "a cluster of Ward's linkage: joined because that adds least to the squares about its mean"
    growth: ClassVar[float] = 2.0

    linked: int = 15_000
    """Pictures that are linked pair by pair, at most, from 3: 15,000 take 0.9 GB of distances."""
    centres: int = 5_000
    """Centres that more pictures are brought to, 2 to `linked`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.linked >= 3, f"linked must be at least 3, not {self.linked}")
        require(2 <= self.centres <= self.linked, f"centres must be 2 to linked ({self.linked}), not {self.centres}")

    def memory(self, pictures: int, features: int) -> int:
        """See the family: the distances of all pairs."""
        held = min(pictures, self.linked if pictures <= self.linked else self.centres)
        return super().memory(pictures, features) + held * (held - 1) // 2 * 8

    def tree(self, features: Float[ndarray, "n d"]) -> MergeTree:
        """See the class."""
        if len(features) <= self.linked:
            return _ward(features)
        model = KMeans(self.centres, init="random", n_init=cast(Any, 1), max_iter=20, random_state=self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of equal pictures there are fewer centres
            groups = model.fit_predict(features)
        return self._of_groups(features, groups)

    def _of_groups(self, features: Float[ndarray, "n d"], groups: Int[ndarray, "n"]) -> MergeTree:
        """The tree of the groups' means, below each of its leaves that of the group's own pictures."""
        names = np.unique(groups)
        merges, heights, tops = list[list[int]](), list[float](), list[int]()
        for name in names:
            members = np.flatnonzero(groups == name)
            inner = self._inner(features[members])
            tops.append(_appended(inner, members.tolist(), len(features), merges, heights))
        outer = _ward(np.stack([features[groups == name].mean(0) for name in names]))
        _appended(outer, tops, len(features), merges, heights)
        return MergeTree(np.array(merges, np.int64), np.array(heights))

    def _inner(self, features: Float[ndarray, "n d"]) -> MergeTree:
        """Of a group's pictures; in their order where they are too many, as equal pictures may be."""
        if 2 <= len(features) <= self.linked:
            return _ward(features)
        if len(features) > self.linked:
            return nested_tree(len(features), halves, lambda _: 0.0)
        return MergeTree(np.zeros((0, 2), np.int64), np.zeros(0))


def _ward(features: Float[ndarray, "n d"]) -> MergeTree:
    """Ward's linkage, each node at the height at which its own children were joined."""
    found = linkage(features, "ward") if len(features) > 1 else np.zeros((0, 4))
    return MergeTree(found[:, :2].astype(np.int64), found[:, 2].copy())


def _appended(tree: MergeTree, leaves: list[int], count: int, merges: list[list[int]], heights: list[float]) -> int:
    """Adds a tree to merges over `count` pictures, its leaves being nodes of these; returns the node of its root."""
    number = list(leaves)
    for (left, right), height in zip(tree.merges.tolist(), tree.heights.tolist(), strict=True):
        below = [number[left], number[right]]
        most = max([height, *(heights[one - count] for one in below if one >= count)])
        merges.append(below)
        heights.append(most)
        number.append(count + len(merges) - 1)
    return number[-1]
