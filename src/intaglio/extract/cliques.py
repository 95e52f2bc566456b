"""Groups of pictures that are all alike: a greedy partition into cliques, and the threshold that gives enough of them.

Two pictures are joined where their similarity reaches a threshold; the largest clique of that graph is taken out, and
again, until no picture is left (after arXiv 2301.13188, in the form that FineXtract, arXiv 2410.03039, uses). Every
clique that is left after some pictures were taken out lies inside a maximal clique of the whole graph, so these are
listed once, and a heap hands out the largest of what is left of them: the same partition as peeling anew each time.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import networkx as nx
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from intaglio.errors import BadInput

STEP = 0.01
"""Thresholds lie on this grid."""
LISTED = 100_000
"""Maximal cliques that are listed at most for one connected part of the graph."""

Groups = list[tuple[int, ...]]
"""Indices by group: the largest group first, among equals the one with the smallest indices; each in rising order."""


@dataclass(frozen=True)
class Partition:
    """Groups of alike pictures."""

    groups: Groups
    threshold: float
    """Every two pictures of a group are at least this similar."""
    exact: bool
    """False where some part of the graph held too many cliques to be listed and was grouped by complete linkage."""


def partition(similarity: Float[ndarray, "n n"], threshold: float, *, listed: int = LISTED) -> Partition:
    """Peel the largest clique off the graph of pairs at least `threshold` alike, until nothing is left.

    Args:
        similarity: symmetric; the diagonal is not looked at.
        threshold: of a pair's similarity.
        listed: maximal cliques listed at most in one connected part; beyond, the part is grouped by complete linkage,
            whose groups are cliques too, but not always the largest.
    """
    joined = _joined(similarity, threshold)
    graph = nx.from_numpy_array(joined)
    groups: Groups = []
    exact = True
    for part in nx.connected_components(graph):
        cliques = list(islice(nx.find_cliques(graph.subgraph(part)), listed + 1))
        if len(cliques) > listed:
            exact = False
            groups += _linked(similarity, sorted(part), threshold)
        else:
            groups += _peeled(cliques)
    return Partition(sorted(groups, key=_order), threshold, exact)


def threshold_for(
    similarity: Float[ndarray, "n n"], count: int, *, lowest: float | None = None, listed: int = LISTED
) -> Partition:
    """The partition at the lowest threshold on the grid that gives `count` groups or more.

    Sparse graphs are cheap, so the search halves the range from above. Numbers of groups need not rise strictly with
    the threshold; the two grid points below the one that is found are looked at too.

    Args:
        similarity: symmetric; the diagonal is not looked at.
        count: groups wanted, from 1.
        lowest: where the search begins; none takes the lower quartile of all pairs, rounded down to the grid.
        listed: as in `partition`.

    Raises:
        BadInput: fewer pictures than groups.
    """
    n = len(similarity)
    if not 1 <= count <= n:
        raise BadInput(f"{n} pictures cannot fall into {count} groups; draw more, or ask for fewer")
    pairs = similarity[np.triu_indices(n, 1)]
    if lowest is None:
        lowest = float(np.quantile(pairs, 0.25)) if len(pairs) else 0.0
    low = int(np.floor(lowest / STEP + 1e-9))
    # Above the highest similarity every picture stands alone, which is enough for any count.
    high = max(low, int(np.floor(pairs.max() / STEP + 1e-9)) + 1 if len(pairs) else low)
    tried: dict[int, Partition] = {}

    def at(place: int) -> Partition:
        if place not in tried:
            tried[place] = partition(similarity, round(place * STEP, 6), listed=listed)
        return tried[place]

    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(at(middle).groups) >= count else (middle + 1, high)
    first = int(np.floor(lowest / STEP + 1e-9))
    enough = [place for place in range(max(first, high - 2), high + 1) if len(at(place).groups) >= count]
    return at(min(enough))


def representatives(groups: Iterable[Sequence[int]], descriptors: Float[ndarray, "n d"]) -> list[int]:
    """Of each group, the member nearest to the mean of its descriptors; the first of several equally near."""
    found = []
    for members in groups:
        rows = descriptors[list(members)]
        distance = np.linalg.norm(rows - rows.mean(0), axis=1)
        found.append(members[int(distance.argmin())])
    return found


def _joined(similarity: Float[ndarray, "n n"], threshold: float) -> Bool[ndarray, "n n"]:
    joined = similarity >= threshold
    np.fill_diagonal(joined, False)
    return joined


def _order(group: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    return -len(group), group


def _peeled(cliques: Iterable[Iterable[int]]) -> Groups:
    """The largest of what is left of the cliques, again and again."""
    heap = [_order(tuple(sorted(clique))) for clique in cliques]
    heapq.heapify(heap)
    gone: set[int] = set()
    groups: Groups = []
    while heap:
        _, members = heapq.heappop(heap)
        left = tuple(i for i in members if i not in gone)
        if len(left) == len(members):
            groups.append(members)
            gone.update(members)
        elif left:
            heapq.heappush(heap, _order(left))
    return groups


def _linked(similarity: Float[ndarray, "n n"], part: Sequence[int], threshold: float) -> Groups:
    """Complete linkage, cut where every two members of a group are at least `threshold` alike."""
    far = 1.0 - similarity[np.ix_(part, part)].astype(np.float64)
    np.fill_diagonal(far, 0.0)
    labels = fcluster(linkage(squareform(far, checks=False), "complete"), 1.0 - threshold + 1e-9, "distance")
    return [tuple(np.asarray(part)[labels == label].tolist()) for label in np.unique(labels)]
