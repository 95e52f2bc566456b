"""`Discovery`: what a search in a table found, as a graph with the probabilities behind it, for people and packages."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import networkx as nx
import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray

from intaglio.causal.formats import packages
from intaglio.causal.formats.matrices import to_pcalg_matrix
from intaglio.causal.graphs import meek
from intaglio.causal.graphs.distances import Comparison, compare
from intaglio.causal.graphs.graph import Graph
from intaglio.errors import IntaglioError

EdgeMark = Literal["-->", "---"]
FORWARD, BACKWARD, REVERSIBLE = range(3)
"""Places on the last axis of `Discovery.marks`."""
ABSENT = 0
"""Place of "no edge" on the last axis of `Discovery.frequencies`; 1 + a place of `marks` is that mark's."""


@dataclass(frozen=True)
class FoundEdge:
    """One edge of the graph, with what is known of it; all numbers are in [0, 1]."""

    source: str
    target: str
    mark: EdgeMark
    """`-->`: in every DAG of the class; `---`: either way in some of them, so the data cannot tell."""
    p_adjacent: float
    p_forward: float
    """Given that the two are adjacent: that source → target is compelled."""
    p_backward: float
    """Given that the two are adjacent: that target → source is compelled."""
    p_undirected: float
    """Given that the two are adjacent: that the class has both directions."""
    frequency: float | None
    """Share of subsamples whose graph has this very edge; None where none were drawn."""
    confidence: float
    """The least of `p_adjacent`, the probability of the mark, and `frequency`."""
    spread: float | None = None
    """Standard deviation of `p_adjacent` over subsamples."""

    @property
    def p_mark(self) -> float:
        """Of the mark that the graph has, given that the two are adjacent."""
        return self.p_forward if self.mark == "-->" else self.p_undirected

    def __str__(self) -> str:
        return f"{self.source} {self.mark} {self.target}"


@dataclass(frozen=True)
class FoundTriple:
    """An unshielded triple of the graph: two legs that are not adjacent, and the centre that both are adjacent to."""

    centre: str
    leg1: str
    leg2: str
    p_collider: float
    collider: bool
    """Whether the graph has leg1 → centre ← leg2."""


@dataclass(frozen=True)
class FoundPair:
    """Two variables that the graph keeps apart, and the probability that they are adjacent all the same."""

    first: str
    second: str
    p_adjacent: float


@dataclass(frozen=True, eq=False)
class Discovery:
    """A causal graph over the columns of a table. Matrices are in the order of `graph.names`, and read-only.

    Raises:
        ValueError: matrices that do not fit the graph, or probabilities outside [0, 1].
    """

    method: str
    """Name in the table of methods, such as `sicl`."""
    graph: Graph
    """A CPDAG, or an MPDAG where knowledge was given, over all columns of the input in their order."""
    adjacent: Float64[ndarray, "d d"]
    """P that the pair is adjacent, calibrated; symmetric, 0 on the diagonal."""
    marks: Float64[ndarray, "d d 3"]
    """Given adjacency: P(i → j compelled), P(j → i compelled), P(reversible)."""
    triples: Int[ndarray, "t 3"]
    """Unshielded triples of the graph: (centre, leg, leg) as places among the names."""
    colliders: Float64[ndarray, "t"]
    """P that the triple is a collider, calibrated."""
    spread: Float64[ndarray, "d d"] | None = None
    """Standard deviation of `adjacent` over subsamples."""
    frequencies: Float64[ndarray, "d d 4"] | None = None
    """Share of subsamples whose graph has no edge, i → j, j → i, i — j."""
    conflicts: int = 0
    """Colliders that were probable and yet left out, because they contradicted more probable ones."""
    fallback: bool = False
    """Whether no DAG had all the accepted colliders, so that one was searched for."""
    ood_score: float = 0.0
    """Share of the table's features that lie outside what the method was trained on; NaN where it does not say."""
    ood_reasons: tuple[str, ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()
    """Columns that say the same; the first of each group stands for it, the others have no edges."""
    isolated: tuple[str, ...] = ()
    """Constant columns, which have no edges."""
    warnings: tuple[str, ...] = ()
    rows: int = 0
    """Rows that were used."""
    seconds: float = 0.0

    def __post_init__(self):
        d, t = len(self.graph), len(np.asarray(self.triples))
        shapes = {
            "adjacent": (d, d),
            "marks": (d, d, 3),
            "triples": (t, 3),
            "colliders": (t,),
            "spread": (d, d),
            "frequencies": (d, d, 4),
        }
        for name, shape in shapes.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _checked(name, value, shape))
        if not np.array_equal(self.adjacent, self.adjacent.T) or np.diagonal(self.adjacent).any():
            raise ValueError("adjacent must be symmetric with zeros on its diagonal")
        if t and not (self.triples.min() >= 0 and self.triples.max() < d):
            raise ValueError(f"triples must hold places of the {d} variables")

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of the input, in their order."""
        return self.graph.names

    @cached_property
    def edges(self) -> tuple[FoundEdge, ...]:
        """One for each adjacent pair, in the order of the names."""
        return tuple(self._edge(edge.first, edge.second) for edge in self.graph.edges)

    def _edge(self, source: str, target: str) -> FoundEdge:
        i, j = self.names.index(source), self.names.index(target)
        place = FORWARD if self.graph.directed[i, j] else REVERSIBLE
        often = None if self.frequencies is None else float(self.frequencies[i, j, 1 + place])
        sure = (float(self.adjacent[i, j]), float(self.marks[i, j, place]), *([] if often is None else [often]))
        return FoundEdge(
            source=source,
            target=target,
            mark="-->" if place == FORWARD else "---",
            p_adjacent=float(self.adjacent[i, j]),
            p_forward=float(self.marks[i, j, FORWARD]),
            p_backward=float(self.marks[i, j, BACKWARD]),
            p_undirected=float(self.marks[i, j, REVERSIBLE]),
            frequency=often,
            confidence=min(sure),
            spread=None if self.spread is None else float(self.spread[i, j]),
        )

    @cached_property
    def triple_records(self) -> tuple[FoundTriple, ...]:
        """One for each unshielded triple, the most probable collider first."""
        found = []
        for (k, i, j), p in zip(self.triples.tolist(), self.colliders.tolist(), strict=True):
            drawn = bool(self.graph.directed[i, k] and self.graph.directed[j, k])
            found.append(FoundTriple(self.names[k], self.names[i], self.names[j], p, drawn))
        return tuple(sorted(found, key=lambda triple: -triple.p_collider))

    def near_misses(self, least: float = 0.05) -> tuple[FoundPair, ...]:
        """Pairs without an edge that are adjacent with a probability of at least `least`, the most probable first.

        With the edges they are the candidates that a search by another package may be restricted to.
        """
        pairs = np.argwhere(np.triu(~self.graph.skeleton & (self.adjacent >= least), 1))
        found = [FoundPair(self.names[i], self.names[j], float(self.adjacent[i, j])) for i, j in pairs]
        return tuple(sorted(found, key=lambda pair: -pair.p_adjacent))

    def summary(self) -> str:
        """The edges with their probabilities and all that should be known of them, as lines of text."""
        from intaglio.causal.results.text import summary

        return summary(self)

    def __str__(self) -> str:
        return self.summary()

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row an edge. Raises `IntaglioError` where pandas is not installed."""
        return _frame([asdict(edge) for edge in self.edges], [field.name for field in fields(FoundEdge)])

    def adjacency_frame(self) -> Any:
        """A DataFrame [d, d] of 0 and 1: i → j is 1 in row i alone, i — j is 1 in both rows, as pgmpy has it."""
        return self._square(self.graph.adjacency.astype(int))

    def skeleton_frame(self) -> Any:
        """A DataFrame [d, d] of `adjacent`."""
        return self._square(self.adjacent)

    def collider_frame(self) -> Any:
        """A DataFrame with a row an unshielded triple: centre, leg1, leg2, p_collider, collider."""
        return _frame([asdict(one) for one in self.triple_records], [field.name for field in fields(FoundTriple)])

    def mark_frame(self) -> Any:
        """A DataFrame with a row a pair, given that it is adjacent: first, second, p_forward, p_backward, p_undirected.

        Forward is from the first to the second.
        """
        rows = [
            {
                "first": self.names[i],
                "second": self.names[j],
                **dict(zip(MARKS, self.marks[i, j].tolist(), strict=True)),
            }
            for i, j in zip(*np.triu_indices(len(self.names), 1), strict=True)
        ]
        return _frame(rows, ["first", "second", *MARKS])

    def _square(self, matrix: ndarray) -> Any:
        return _pandas().DataFrame(matrix, index=list(self.names), columns=list(self.names))

    def to_networkx(self) -> nx.DiGraph:
        """A DiGraph as `packages.to_networkx` makes it, with the numbers of `FoundEdge` on each arc.

        On both arcs of an undirected edge `p_forward` is the arc's own direction.
        """
        made = packages.to_networkx(self.graph)
        made.graph["method"] = self.method
        for a, b, attributes in made.edges(data=True):
            attributes |= {key: value for key, value in asdict(self._edge(a, b)).items() if isinstance(value, float)}
        return made

    def to_pgmpy(self) -> Any:
        """Pgmpy's `PDAG`. Raises `IntaglioError` where pgmpy is not installed."""
        return packages.to_pgmpy(self.graph)

    def to_causallearn(self) -> Any:
        """causal-learn's `GeneralGraph`. Raises `IntaglioError` where causal-learn is not installed."""
        return packages.to_causallearn(self.graph)

    def to_pcalg(self) -> Int[ndarray, "d d"]:
        """The `amat.cpdag` of the R package pcalg."""
        return to_pcalg_matrix(self.graph)

    def sample_dag(self, seed: int) -> Graph:
        """A random DAG of the class; each of them can come, though not each equally often.

        Undirected edges are oriented one at a time, either way, with Meek's four rules after each: by theorem 4 of
        C. Meek (UAI 1995) every such choice has a DAG.
        """
        random = np.random.default_rng(seed)
        directed, undirected = self.graph.directed.copy(), self.graph.undirected.copy()
        while undirected.any():
            i, j = random.permutation(random.permutation(np.argwhere(np.triu(undirected)))[0])
            directed[i, j], undirected[i, j], undirected[j, i] = True, False, False
            directed, undirected = meek.closure(directed, undirected, knowledge=True)
        return Graph.from_adjacency("DAG", directed, self.names)

    def score(self, truth: Graph) -> Comparison:
        """SHD and the F1 of skeleton, orientation and colliders against the true DAG or its class.

        Raises:
            BadInput: a graph over other variables, or a MAG or PAG.
        """
        return compare(truth, self.graph)

    def save(self, folder: Path) -> None:
        """Writes the graph in every format, all or nothing: what is there afterwards is said by `discovery_files`.

        Raises:
            BadInput: the folder holds something else. IntaglioError: the disk refuses.
        """
        from intaglio.causal.results.files import write

        write(self, folder)

    @classmethod
    def load(cls, folder: Path) -> "Discovery":
        """What `save` wrote, every number the same; of the folder, or of its `graph.json` alone.

        Raises:
            BadInput: there is none, or it is damaged.
        """
        from intaglio.causal.results.files import read

        return read(folder)


MARKS = ("p_forward", "p_backward", "p_undirected")


def _checked(name: str, value: ndarray, shape: tuple[int, ...]) -> ndarray:
    kept = np.array(value, np.int64 if name == "triples" else np.float64)
    if kept.shape != shape:
        raise ValueError(f"{name} must have the shape {list(shape)}, not {list(kept.shape)}")
    if name != "triples" and not ((kept >= 0) & (kept <= 1)).all():
        raise ValueError(f"{name} must lie between 0 and 1")
    kept.setflags(write=False)
    return kept


def _frame(rows: Sequence[Mapping[str, Any]], columns: list[str]) -> Any:
    return _pandas().DataFrame(rows, columns=columns)


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise IntaglioError('a table needs pandas; install it with: pip install "intaglio[frame]"') from error
    return pd
