"""Layout of a treemap: for each node that is opened, the boxes that it falls into, as rectangles of whole tiles."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from intaglio.explain.collection.merge_tree import MergeTree

WIDE, NARROW = 1.6, 0.75
"""Width over height of the plane on a large screen and on a small one."""
GROWTH = 1.25
"""Columns over the fewest, up to which a grid is tried that has room for every tile."""

Rectangle = tuple[int, int, int, int]
"""Left, top, width and height in tiles."""


@dataclass(frozen=True)
class Plane:
    """One layout of a view: a grid of tiles, and the rectangle of each box, which tile it."""

    columns: int
    rows: int
    rectangles: tuple[Rectangle, ...]
    short: int
    """Tiles for which the boxes have no room."""


@dataclass(frozen=True)
class TreemapView:
    """A node that is opened: the boxes that it falls into, and where they lie."""

    node: int
    above: int
    """Number of the view that it is a box of; -1 for the first."""
    boxes: tuple[int, ...]
    """Nodes, from left to right."""
    opens: tuple[int, ...]
    """For each box the number of its own view; -1 where it is not opened."""
    planes: tuple[Plane, ...]
    """On a large screen and on a small one."""


def treemap_views(tree: MergeTree, tiles: Sequence[int], boxes: int) -> list[TreemapView]:
    """The views of all nodes that can be opened, each after the one that it is a box of.

    Args:
        tree: over pictures.
        tiles: nodes that are one tile each and are not opened, from left to right; every leaf is below one of them.
        boxes: that a node falls into, from 2.
    """
    closed = frozenset(tiles)
    waiting = [(tree.root, -1)]
    starts = [int(tree.starts[one]) for one in tiles]
    number, cuts = dict[int, int](), list[tuple[int, int, list[int]]]()
    for node, above in waiting:  # grows while it is walked
        number[node] = len(cuts)
        cuts.append((node, above, tree.cut(boxes, node, closed)))
        waiting += [(one, number[node]) for one in cuts[-1][2] if one not in closed and one != node]
    found = list[TreemapView]()
    for node, above, below in cuts:
        planes = tuple(_fitting_plane(tree, starts, node, below, aspect) for aspect in (WIDE, NARROW))
        found.append(TreemapView(node, above, tuple(below), tuple(number.get(one, -1) for one in below), planes))
    return found


def _fitting_plane(tree: MergeTree, starts: Sequence[int], node: int, boxes: Sequence[int], aspect: float) -> Plane:
    """The smallest grid with room for every tile, among those not much larger than need be; else the one that lacks
    least.
    """
    tiles = _below(tree, starts, node)
    fewest = next(one for one in range(1, tiles + len(boxes) + 1) if _fits(one, aspect, tiles, len(boxes)))
    best = plane_of(tree, starts, node, boxes, fewest, _rows(fewest, aspect))
    for columns in range(fewest + 1, ceil(fewest * GROWTH) + 1):
        if not best.short:
            break
        tried = plane_of(tree, starts, node, boxes, columns, _rows(columns, aspect))
        best = min(best, tried, key=lambda one: one.short)
    return best


def _rows(columns: int, aspect: float) -> int:
    return max(1, round(columns / aspect))


def _fits(columns: int, aspect: float, tiles: int, boxes: int) -> bool:
    rows = _rows(columns, aspect)
    return columns * rows >= tiles and max(columns, rows) >= boxes


def _below(tree: MergeTree, starts: Sequence[int], node: int) -> int:
    """The number of sorted places that lie among the node's leaves."""
    first = int(tree.starts[node])
    return bisect_left(starts, first + int(tree.counts[node])) - bisect_left(starts, first)


def plane_of(tree: MergeTree, starts: Sequence[int], node: int, boxes: Sequence[int], columns: int, rows: int) -> Plane:
    """A node's boxes on a grid: each join on the way is split across the longer side, by counts of leaves.

    Args:
        tree: over pictures.
        starts: places of the tiles' first leaves, sorted.
        node: that is opened.
        boxes: nodes that it falls into, from left to right; no more than the longer side has tiles.
        columns: of the grid.
        rows: of the grid.
    """
    places = [int(tree.starts[one]) for one in boxes]
    ends = {one: place for place, one in enumerate(boxes)}
    found = [(0, 0, 0, 0)] * len(boxes)
    waiting: list[tuple[int, Rectangle]] = [(node, (0, 0, columns, rows))]
    while waiting:
        one, (left, top, width, height) = waiting.pop()
        if one in ends:
            found[ends[one]] = (left, top, width, height)
            continue
        first, second = tree.merges[one - tree.leaves].tolist()
        sideways = width >= height
        length, across = (width, height) if sideways else (height, width)
        share = float(tree.counts[first] / tree.counts[one])
        inside = [_below(tree, places, child) for child in (first, second)]
        tiles = [_below(tree, starts, child) for child in (first, second)]
        cut = split_length(length, across, share, inside, tiles)
        if sideways:
            parts = (left, top, cut, height), (left + cut, top, width - cut, height)
        else:
            parts = (left, top, width, cut), (left, top + cut, width, height - cut)
        waiting += zip((first, second), parts, strict=True)
    short = sum(max(0, _below(tree, starts, one) - w * h) for one, (_, _, w, h) in zip(boxes, found, strict=True))
    return Plane(columns, rows, tuple(found), short)


def split_length(length: int, across: int, share: float, boxes: Sequence[int], tiles: Sequence[int]) -> int:
    """Tiles of the first of two parts: the share rounded down or up, by which both have more of the room they need.

    Args:
        length: of the side that is split, in tiles, at least all boxes.
        across: tiles of the other side.
        share: of the first part, in (0, 1).
        boxes: inside either part; a part is left so long that each of them gets a tile in the end.
        tiles: inside either part.
    """
    least = [1 if across >= count else count for count in boxes]
    wanted = length * share

    def lack(cut: int) -> tuple[int, float]:
        room = cut * across, (length - cut) * across
        short = sum(max(0, need - has) for need, has in zip(tiles, room, strict=True))
        return short, abs(cut - wanted)

    tried = {min(max(one, least[0]), length - least[1]) for one in (floor(wanted), ceil(wanted))}
    return min(sorted(tried), key=lack)
