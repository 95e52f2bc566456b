"""Trees over pictures: two nodes joined at each step, with the height of the join, cut into boxes."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

Members = Int[ndarray, "_"]
"""Leaves of a group."""


@dataclass(frozen=True, eq=False)
class MergeTree:
    """A binary tree over n leaves, numbered as SciPy does: leaves are 0 to n - 1, the node of merge i is n + i.

    A node's children have lower numbers than it. All walks are loops, so that a chain of leaves is no deeper a call.
    """

    merges: Int[ndarray, "m 2"]
    """Children of each inner node, the left one first; m is n - 1."""
    heights: Float[ndarray, "m"]
    """Of each inner node its own, at which its two children are joined; not that of the node above it."""

    @property
    def leaves(self) -> int:
        """Their number n."""
        return len(self.merges) + 1

    @property
    def root(self) -> int:
        """Number of the node above all others."""
        return 2 * len(self.merges)

    @cached_property
    def counts(self) -> Int[ndarray, "v"]:
        """Leaves below each node; 1 for a leaf."""
        found = np.ones(self.root + 1, np.int64)
        for node, (left, right) in enumerate(self.merges.tolist(), start=self.leaves):
            found[node] = found[left] + found[right]
        return found

    @cached_property
    def starts(self) -> Int[ndarray, "v"]:
        """Place of each node's first leaf, where leaves stand from left to right; its others follow without a gap."""
        found, counts = np.zeros(self.root + 1, np.int64), self.counts
        for node in range(self.root, self.leaves - 1, -1):
            left, right = self.merges[node - self.leaves].tolist()
            found[left], found[right] = found[node], found[node] + counts[left]
        return found

    @cached_property
    def order(self) -> Int[ndarray, "n"]:
        """Leaves from left to right."""
        return np.argsort(self.starts[: self.leaves])

    def members(self, node: int) -> Members:
        """Leaves below a node, from left to right; the leaf itself for one."""
        start = int(self.starts[node])
        return self.order[start : start + int(self.counts[node])]

    def cut(self, count: int, node: int | None = None, closed: frozenset[int] = frozenset()) -> list[int]:
        """Nodes that one falls into: the highest that can be opened is, until there are `count`; from left to right.

        Args:
            count: of nodes, from 1; fewer where there are not so many below.
            node: that is cut; None takes the root.
            closed: nodes that are not opened, as leaves are not.
        """
        top = self.root if node is None else node
        waiting, kept = [self._entry(top)], list[int]()
        while waiting and len(waiting) + len(kept) < count:
            one = heapq.heappop(waiting)[1]
            if one < self.leaves or one in closed:
                kept.append(one)
                continue
            for child in self.merges[one - self.leaves].tolist():
                heapq.heappush(waiting, self._entry(child))
        return sorted([*kept, *(one for _, one in waiting)], key=lambda one: int(self.starts[one]))

    def groups(self, nodes: Sequence[int]) -> Int[ndarray, "n"]:
        """For each leaf the place in `nodes` of the one that it is below; -1 for none."""
        found = np.full(self.leaves, -1, np.int64)
        for place, node in enumerate(nodes):
            found[self.members(node)] = place
        return found

    def _entry(self, node: int) -> tuple[float, int]:
        return (-float(self.heights[node - self.leaves]) if node >= self.leaves else np.inf, node)

    def check(self) -> None:
        """Raises `ValueError` where a node is the child of none or two, or is above a child of a higher number."""
        below = np.arange(self.leaves, self.root + 1)
        if self.merges.shape != (len(self.heights), 2) or not np.isfinite(self.heights).all():
            raise ValueError("merges and heights do not fit")
        if sorted(self.merges.ravel().tolist()) != list(range(self.root)) or (self.merges >= below[:, None]).any():
            raise ValueError("the merges are no tree")


def nested_tree(
    leaves: int, parts: Callable[[Members], Sequence[Members]], height: Callable[[Members], float]
) -> MergeTree:
    """The tree of a group that is parted, and its parts again, down to single leaves.

    Args:
        leaves: their number n, from 2.
        parts: of two members or more, two groups or more, none of them empty; several are joined by halves.
        height: of a group, no less than that of its parts.
    """
    children, heights = list[list[int]](), list[float]()
    waiting: list[tuple[Sequence[Members], float, int, int]] = [([np.arange(leaves)], 0.0, -1, 0)]
    while waiting:
        groups, joined_at, above, side = waiting.pop()
        if len(groups) == 1:
            if len(groups[0]) == 1:
                children[above][side] = int(groups[0][0])
                continue
            joined_at, groups = height(groups[0]), parts(groups[0])
        node, half = len(children), (len(groups) + 1) // 2
        children.append([0, 0])
        heights.append(joined_at)
        if above >= 0:
            children[above][side] = -1 - node
        waiting += [(groups[:half], joined_at, node, 0), (groups[half:], joined_at, node, 1)]
    # Made from the top down: turned around, children have lower numbers.
    last = leaves + len(children) - 1
    numbered = [[one if one >= 0 else last + 1 + one for one in pair] for pair in reversed(children)]
    return MergeTree(np.array(numbered, np.int64).reshape(-1, 2), np.array(heights[::-1], np.float64))


def halves(members: Members) -> Sequence[Members]:
    """A group's first half and its second, in its order."""
    half = (len(members) + 1) // 2
    return members[:half], members[half:]
