"""Layered layout of graphs, from causes at the top to effects at the bottom.

After K. Sugiyama, S. Tagawa and M. Toda (1981): every edge points one layer down or more, edges over several layers
pass through slots of their own, so that they cross no box, layers are ordered for few crossings, and positions are then
pulled together. The layout is a function of the graph.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.causal.graphs import meek
from intaglio.causal.graphs.graph import Graph

BOX_GAP, SLOT_WIDTH, MARGIN, PORT_GAP = 22.0, 16.0, 12.0, 10.0
"""In drawing units: gap between boxes, width of a passing edge's slot, margin, gap between edges at a box."""

ORDERING_SWEEPS = 24
Point = tuple[float, float]


@dataclass(frozen=True)
class GraphLayout:
    """Coordinates in drawing units, y downwards."""

    centres: tuple[Point, ...]
    """Centre of each variable's box, in the order of the names."""
    widths: tuple[float, ...]
    routes: dict[tuple[int, int], tuple[Point, ...]]
    """For each edge (upper, lower): the point on the upper box, its bends, the point on the lower box."""
    width: float
    height: float


def layered_layout(graph: Graph, widths: list[float], height: float) -> GraphLayout:
    """The layout of a graph with boxes of one height and these widths, or wider where a box has many edges."""
    arcs = downward(graph)
    widths = [max(w, PORT_GAP * (max(n, m) + 1)) for w, n, m in zip(widths, arcs.sum(0), arcs.sum(1), strict=True)]
    level = layers(arcs)
    rows, ends = _slots(arcs, level)
    rows = _ordered(rows, ends)
    size = [*widths, *([SLOT_WIDTH] * (len(ends) - len(widths)))]
    x = _across(rows, ends, size)
    y = _down(rows, ends, height)
    routes = {}
    below, above = _ports(arcs, ends, x, widths, len(graph))
    for a, b in np.argwhere(arcs).tolist():
        bends = _bends(ends, a, b, len(graph))
        leave, meet = (below[a, b], y[a] + height / 2), (above[a, b], y[b] - height / 2)
        routes[a, b] = (leave, *((x[k], y[k]) for k in bends), meet)
    right = max((x[i] + size[i] / 2 for i in x), default=0.0) + MARGIN
    centres = tuple((x[i], y[i]) for i in range(len(graph)))
    return GraphLayout(centres, tuple(widths), routes, right, max(y.values(), default=0.0) + height / 2 + MARGIN)


def downward(graph: Graph) -> Bool[ndarray, "d d"]:
    """An acyclic direction for each edge: along arrows where there are any, else by the order of the names."""
    heads = graph.directed
    if graph.kind not in ("MAG", "PAG"):
        dag = meek.extension(graph.directed, graph.undirected)
        heads = graph.directed if dag is None else dag
    else:
        arrow = graph.marks == 2
        heads = arrow & ~arrow.T
    left, position = list(range(len(graph))), {}
    while left:
        first = min(left, key=lambda i: (heads[left, i].sum(), i))
        position[first] = len(position)
        left.remove(first)
    rank = np.array([position[i] for i in range(len(graph))], dtype=int)
    return graph.skeleton & (rank[:, None] < rank)


def layers(arcs: Bool[ndarray, "d d"]) -> list[int]:
    """The layer of each variable: the first one with room below all its causes; isolated ones come last."""
    d = len(arcs)
    room = max(4, int(np.ceil(1.3 * np.sqrt(d))))
    level, count, left = [0] * d, {}, [i for i in range(d) if arcs[i].any() or arcs[:, i].any()]
    while left:
        ready = next(i for i in left if not arcs[left, i].any())
        at = max((level[j] + 1 for j in np.flatnonzero(arcs[:, ready])), default=0)
        while count.get(at, 0) >= room:
            at += 1
        level[ready], count[at] = at, count.get(at, 0) + 1
        left.remove(ready)
    for i in np.flatnonzero(~arcs.any(0) & arcs.any(1)):
        level[i] = max(level[i], min(level[j] for j in np.flatnonzero(arcs[i])) - 1)
    last = max(count, default=-1)
    for k, i in enumerate(i for i in range(d) if not arcs[i].any() and not arcs[:, i].any()):
        level[i] = last + 1 + k // room
    return level


Ends = list[list[int]]
"""The boxes and slots one layer below that each box or slot is connected to."""


def _slots(arcs: Bool[ndarray, "d d"], level: list[int]) -> tuple[list[list[int]], Ends]:
    """The rows from top to bottom, with a slot wherever an edge passes a layer, and the connections downwards."""
    d = len(arcs)
    rows: list[list[int]] = [[] for _ in range(max(level, default=-1) + 1)]
    for i in range(d):
        rows[level[i]].append(i)
    ends: Ends = [[] for _ in range(d)]
    for a, b in np.argwhere(arcs).tolist():
        at = a
        for k in range(level[a] + 1, level[b]):
            ends.append([])
            ends[at].append(len(ends) - 1)
            at = len(ends) - 1
            rows[k].append(at)
        ends[at].append(b)
    return rows, ends


def _bends(ends: Ends, a: int, b: int, count: int) -> list[int]:
    """The slots along the edge from a to b: each chain of slots has one way down."""
    for at in ends[a]:
        chain = []
        while at >= count:
            chain.append(at)
            at = ends[at][0]
        if at == b:
            return chain
    return []


def _ordered(rows: list[list[int]], ends: Ends) -> list[list[int]]:
    """Rows ordered by the mean position of neighbours, in sweeps down and up; the sweep with fewest crossings."""
    heads: Ends = [[] for _ in ends]
    for a, below in enumerate(ends):
        for b in below:
            heads[b].append(a)
    best, fewest = [list(row) for row in rows], _crossings(rows, ends)
    rows = [list(row) for row in rows]
    for sweep in range(ORDERING_SWEEPS):
        order = range(1, len(rows)) if sweep % 2 == 0 else range(len(rows) - 2, -1, -1)
        for k in order:
            joined, other = (heads, rows[k - 1]) if sweep % 2 == 0 else (ends, rows[k + 1])
            position = {node: p for p, node in enumerate(other)}
            own = {node: p for p, node in enumerate(rows[k])}
            mean = {i: _mean([position[j] for j in joined[i]]) if joined[i] else float(own[i]) for i in rows[k]}
            rows[k].sort(key=lambda i, mean=mean, own=own: (mean[i], own[i]))
        if (crossed := _crossings(rows, ends)) < fewest:
            best, fewest = [list(row) for row in rows], crossed
    return best


def _crossings(rows: list[list[int]], ends: Ends) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        position = {node: p for p, node in enumerate(lower)}
        line = [position[b] for a in upper for b in sorted(ends[a], key=position.__getitem__)]
        left: list[int] = []  # what stands to the left in the line, in rising order
        for later in line:
            total += len(left) - bisect_right(left, later)
            insort(left, later)
    return total


def _mean(values: Sequence[float] | Sequence[int]) -> float:
    # numpy takes much longer for a few values, and large graphs ask a million times.
    return sum(values) / len(values)


def _across(rows: list[list[int]], ends: Ends, size: list[float]) -> dict[int, float]:
    """Horizontal centre of each box and slot: near the mean of its neighbours, without overlap, in the row's order."""
    heads: Ends = [[] for _ in ends]
    for a, below in enumerate(ends):
        for b in below:
            heads[b].append(a)
    x: dict[int, float] = {}
    for row in rows:
        x |= dict(zip(row, _spread([0.0] * len(row), [size[i] for i in row]), strict=True))
    for sweep in range(ORDERING_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            joined = [heads[i] + ends[i] for i in row]
            wanted = [_mean([x[j] for j in near]) if near else x[i] for i, near in zip(row, joined, strict=True)]
            x |= dict(zip(row, _spread(wanted, [size[i] for i in row]), strict=True))
    left = min((x[i] - size[i] / 2 for i in x), default=0.0)
    return {i: value - left + MARGIN for i, value in x.items()}


def _down(rows: list[list[int]], ends: Ends, height: float) -> dict[int, float]:
    """Vertical centre of each row; rows with many edges between them are further apart."""
    y, at = {}, MARGIN + height / 2
    for row in rows:
        y |= dict.fromkeys(row, at)
        at += height + min(130.0, 52.0 + 3.0 * sum(len(ends[i]) for i in row))
    return y


def _spread(wanted: list[float], size: list[float]) -> Float[ndarray, "k"]:
    """The positions nearest to the wanted ones in least squares that keep order and gaps (isotonic regression)."""
    if not wanted:
        return np.zeros(0)
    steps = [0.0, *((a + b) / 2 + BOX_GAP for a, b in pairwise(size))]
    offset = np.cumsum(steps)
    pools: list[list[float]] = []
    for value in np.asarray(wanted) - offset:
        pools.append([float(value), 1.0])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, n), (two, m) = pools[-2:]
            pools[-2:] = [[(one * n + two * m) / (n + m), n + m]]
    return np.concatenate([np.full(int(n), value) for value, n in pools]) + offset


def _ports(
    arcs: Bool[ndarray, "d d"], ends: Ends, x: dict[int, float], widths: list[float], count: int
) -> tuple[dict[tuple[int, int], float], dict[tuple[int, int], float]]:
    """Horizontal positions of each edge at its upper and its lower box, spread in the order of their next points."""
    below: dict[tuple[int, int], float] = {}
    above: dict[tuple[int, int], float] = {}
    for i in range(count):
        down = {(i, b): x[(*_bends(ends, i, b, count), b)[0]] for b in np.flatnonzero(arcs[i]).tolist()}
        up = {(a, i): x[(a, *_bends(ends, a, i, count))[-1]] for a in np.flatnonzero(arcs[:, i]).tolist()}
        for towards, ports in ((down, below), (up, above)):
            step = min(14.0, 0.85 * widths[i] / max(1, len(towards)))
            for k, edge in enumerate(sorted(towards, key=lambda edge, towards=towards: (towards[edge], edge))):
                ports[edge] = x[i] + (k - (len(towards) - 1) / 2) * step
    return below, above
