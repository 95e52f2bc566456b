"""Groups of pictures that are all alike: a greedy partition into cliques, and the threshold that gives enough of them.

Two pictures are joined where their similarity reaches a threshold; the largest clique of that graph is taken out, and
again, until no picture is left (after arXiv 2301.13188, in the form that FineXtract, arXiv 2410.03039, uses). Every
clique that is left after some pictures were taken out lies inside a maximal clique of the whole graph, so these are
listed once, and a heap hands out the largest of what is left of them: the same partition as peeling anew each time.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import networkx as nx
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from intaglio.errors import BadInput

STEP = 0.01
"""Thresholds lie on this grid."""
LISTED = 100_000
"""Maximal cliques that are listed at most for one connected part of the graph."""
EDGES = 500_000
"""Pairs in one connected part from which its cliques are not listed at all: memory and time would be without bound."""

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


class Alike:
    """Pictures with the similarity of every two, to be grouped at one threshold or another."""

    def __init__(self, similarity: Float[ndarray, "n n"], *, listed: int = LISTED, edges: int = EDGES):
        """Takes the matrix as it is.

        Args:
            similarity: symmetric; the diagonal is not looked at.
            listed: maximal cliques listed at most in one connected part; beyond, the part is grouped by complete
                linkage, whose groups are cliques too, but not always the largest. 0 groups all parts so.
            edges: pairs in one connected part from which that is done at once.
        """
        self._similarity, self._listed, self._edges = similarity, listed, edges

    def at(self, threshold: float) -> Partition:
        """Peel the largest clique off the graph of pairs at least `threshold` alike, until nothing is left."""
        graph = csr_array(self._joined(threshold))
        count, labels = connected_components(graph, directed=False)
        order = np.argsort(labels, kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(labels, minlength=count))[:-1])
        groups: Groups = []
        exact = True
        for part in parts:
            found = self._cliques(graph, part)
            exact &= found is not None
            groups += self._linked(part, threshold) if found is None else found
        return Partition(sorted(groups, key=_order), threshold, exact)

    def lowest(self) -> float:
        """The lower quartile of all pairs; 0 for a lone picture."""
        rows = [row[place + 1 :] for place, row in enumerate(self._similarity)]
        return float(np.quantile(np.concatenate(rows), 0.25)) if len(rows) > 1 else 0.0

    def highest(self) -> float | None:
        """Of all pairs; None for a lone picture."""
        return max((float(row[place + 1 :].max()) for place, row in enumerate(self._similarity[:-1])), default=None)

    def _joined(self, threshold: float) -> Bool[ndarray, "n n"]:
        joined = self._similarity >= threshold
        np.fill_diagonal(joined, False)
        return joined

    def _cliques(self, graph: csr_array, part: Int[ndarray, "m"]) -> Groups | None:
        """The peeled cliques of a connected part; None where they are too many."""
        if len(part) == 1:
            return [(int(part[0]),)]
        inside = graph[part][:, part]
        pairs = inside.nnz // 2
        if not self._listed:
            return None
        if pairs == len(part) * (len(part) - 1) // 2:
            return [tuple(part.tolist())]
        if pairs > self._edges:
            return None
        cliques = list(islice(nx.find_cliques(nx.from_scipy_sparse_array(inside)), self._listed + 1))
        if len(cliques) > self._listed:
            return None
        return _peeled([part[clique].tolist() for clique in cliques])

    def _linked(self, part: Int[ndarray, "m"], threshold: float) -> Groups:
        """Complete linkage, cut where every two members of a group are at least `threshold` alike.

        Pictures of other parts are less alike than that, so one tree over all serves every part and threshold.
        """
        labels = fcluster(self._tree, 1.0 - threshold + 1e-9, "distance")[part]
        return [tuple(part[labels == label].tolist()) for label in np.unique(labels)]

    @cached_property
    def _tree(self) -> Float[ndarray, "m 4"]:
        far = 1.0 - self._similarity.astype(np.float64)
        np.fill_diagonal(far, 0.0)
        return linkage(squareform(far, checks=False), "complete")


def partition(similarity: Float[ndarray, "n n"], threshold: float, *, listed: int = LISTED) -> Partition:
    """The groups at one threshold; see `Alike`."""
    return Alike(similarity, listed=listed).at(threshold)


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
        listed: as in `Alike`.

    Raises:
        BadInput: fewer pictures than groups.
    """
    n, alike = len(similarity), Alike(similarity, listed=listed)
    if not 1 <= count <= n:
        raise BadInput(f"{n} pictures cannot fall into {count} groups; draw more, or ask for fewer")
    first = _place(alike.lowest() if lowest is None else lowest)
    highest = alike.highest()
    # Above the highest similarity every picture stands alone, which is enough for any count.
    low, high = first, first if highest is None else max(first, _place(highest) + 1)
    tried: dict[int, Partition] = {}

    def at(place: int) -> Partition:
        if place not in tried:
            tried[place] = alike.at(round(place * STEP, 6))
        return tried[place]

    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(at(middle).groups) >= count else (middle + 1, high)
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


def _place(threshold: float) -> int:
    """The grid's place at or below a threshold."""
    return int(np.floor(threshold / STEP + 1e-9))


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
