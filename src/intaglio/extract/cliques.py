"""Greedy partition of pictures into cliques of a similarity graph, and the threshold that gives enough of them.

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

THRESHOLD_STEP = 0.01
"""Spacing of the grid of thresholds."""
MAX_LISTED_CLIQUES = 100_000
"""Most maximal cliques that are listed of one connected part of the graph."""
MAX_PAIRS = 500_000
"""Most pairs in one connected part whose cliques are listed: beyond, memory and time are without bound."""

Groups = list[tuple[int, ...]]
"""Picture indices by group: the largest first, ties by the smallest indices; each in rising order."""


@dataclass(frozen=True)
class Partition:
    """Groups of similar pictures."""

    groups: Groups
    threshold: float
    """Every two pictures of a group are at least this similar."""
    exact: bool
    """False where some part of the graph held too many cliques to be listed and was grouped by complete linkage."""


class SimilarityGraph:
    """Similarities of all pairs of pictures, to be partitioned at any threshold."""

    def __init__(self, similarity: Float[ndarray, "n n"], *, listed: int = MAX_LISTED_CLIQUES, edges: int = MAX_PAIRS):
        """Keeps the matrix without a copy.

        Args:
            similarity: symmetric; the diagonal is ignored.
            listed: most maximal cliques listed of one connected part; beyond, the part is grouped by complete
                linkage, whose groups are cliques too, but not always the largest. 0 groups all parts so.
            edges: pairs in one connected part beyond which complete linkage is taken at once.
        """
        self._similarity, self._listed, self._edges = similarity, listed, edges

    def at(self, threshold: float) -> Partition:
        """The partition: the largest clique of pairs at least `threshold` similar is removed until nothing is left."""
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
        """Lower quartile of all pairs' similarities; 0 for a lone picture."""
        rows = [row[index + 1 :] for index, row in enumerate(self._similarity)]
        return float(np.quantile(np.concatenate(rows), 0.25)) if len(rows) > 1 else 0.0

    def highest(self) -> float | None:
        """Highest similarity of all pairs; None for a lone picture."""
        return max((float(row[index + 1 :].max()) for index, row in enumerate(self._similarity[:-1])), default=None)

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
        """Complete linkage, cut where every two members of a group are at least `threshold` similar.

        Pictures of other parts are less similar than that, so one tree over all serves every part and threshold.
        """
        labels = fcluster(self._tree, 1.0 - threshold + 1e-9, "distance")[part]
        return [tuple(part[labels == label].tolist()) for label in np.unique(labels)]

    @cached_property
    def _tree(self) -> Float[ndarray, "m 4"]:
        far = 1.0 - self._similarity.astype(np.float64)
        np.fill_diagonal(far, 0.0)
        return linkage(squareform(far, checks=False), "complete")


def partition(similarity: Float[ndarray, "n n"], threshold: float, *, listed: int = MAX_LISTED_CLIQUES) -> Partition:
    """The groups at one threshold; see `SimilarityGraph`."""
    return SimilarityGraph(similarity, listed=listed).at(threshold)


def threshold_for(
    similarity: Float[ndarray, "n n"], count: int, *, lowest: float | None = None, listed: int = MAX_LISTED_CLIQUES
) -> Partition:
    """The partition at the lowest threshold on the grid that gives `count` groups or more.

    Sparse graphs are cheap, so the search halves the range from above. Numbers of groups need not rise strictly with
    the threshold; the two grid points below the one that is found are looked at too.

    Args:
        similarity: symmetric; the diagonal is ignored.
        count: groups wanted, from 1.
        lowest: lowest threshold tried; None takes the lower quartile of all pairs, rounded down to the grid.
        listed: as in `SimilarityGraph`.

    Raises:
        BadInput: fewer pictures than groups.
    """
    n, graph = len(similarity), SimilarityGraph(similarity, listed=listed)
    if not 1 <= count <= n:
        raise BadInput(f"{n} pictures cannot fall into {count} groups; draw more, or ask for fewer")
    first = _grid_index(graph.lowest() if lowest is None else lowest)
    highest = graph.highest()
    # Above the highest similarity every picture stands alone, which is enough for any count.
    low, high = first, first if highest is None else max(first, _grid_index(highest) + 1)
    tried: dict[int, Partition] = {}

    def at(grid_index: int) -> Partition:
        if grid_index not in tried:
            tried[grid_index] = graph.at(round(grid_index * THRESHOLD_STEP, 6))
        return tried[grid_index]

    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(at(middle).groups) >= count else (middle + 1, high)
    enough = [index for index in range(max(first, high - 2), high + 1) if len(at(index).groups) >= count]
    return at(min(enough))


def representatives(groups: Iterable[Sequence[int]], descriptors: Float[ndarray, "n d"]) -> list[int]:
    """The member of each group nearest to the mean of its descriptors; the first of several equally near."""
    found = []
    for members in groups:
        rows = descriptors[list(members)]
        distance = np.linalg.norm(rows - rows.mean(0), axis=1)
        found.append(members[int(distance.argmin())])
    return found


def _grid_index(threshold: float) -> int:
    """Index of the grid point at or below a threshold."""
    return int(np.floor(threshold / THRESHOLD_STEP + 1e-9))


def _order(group: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    return -len(group), group


def _peeled(cliques: Iterable[Iterable[int]]) -> Groups:
    """Disjoint cliques: the largest by its remaining members is taken until none is left."""
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
