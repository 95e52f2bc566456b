"""Records of a found graph: its edges, its unshielded triples, and the pairs that it has no edge between."""

from dataclasses import dataclass
from typing import Literal

EdgeMark = Literal["-->", "---"]


@dataclass(frozen=True)
class FoundEdge:
    """One edge of the graph; all numbers are in [0, 1]."""

    source: str
    target: str
    mark: EdgeMark
    """`-->`: in every DAG of the class; `---`: the class has DAGs with either direction, so data cannot tell."""
    p_adjacent: float
    """Calibrated probability that the two are adjacent."""
    p_forward: float
    """Probability that source → target is compelled, given that the two are adjacent."""
    p_backward: float
    """Probability that target → source is compelled, given that the two are adjacent."""
    p_undirected: float
    """Probability that the edge is reversible, given that the two are adjacent."""
    frequency: float | None
    """Share of subsamples whose graph has this edge with this mark; None without subsamples."""
    confidence: float
    """The least of `p_adjacent`, `p_mark` and, where there are subsamples, `frequency`."""
    spread: float | None = None
    """Standard deviation of `p_adjacent` over subsamples; None without subsamples."""

    @property
    def p_mark(self) -> float:
        """Probability of the mark that the graph has, given that the two are adjacent."""
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
    """Calibrated probability in [0, 1] that the triple is a collider."""
    collider: bool
    """Whether the graph has leg1 → centre ← leg2."""


@dataclass(frozen=True)
class FoundPair:
    """Two variables without an edge in the graph."""

    first: str
    second: str
    p_adjacent: float
    """Calibrated probability in [0, 1] that the two are adjacent."""
