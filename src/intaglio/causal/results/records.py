"""Records of a found graph: its edges, its unshielded triples, and the pairs that it has no edge between."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from intaglio.causal.graphs.marks import LEFT, RIGHT, Mark

EdgeMark = Literal["-->", "---"]
END_COLUMNS = ("arrow", "tail", "circle")
"""Marks at one end of an edge of a PAG, in the order of their probabilities."""


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

    @classmethod
    def of(
        cls,
        edge: tuple[str, EdgeMark, str],
        p_adjacent: float,
        shares: Sequence[float],
        frequency: float | None,
        spread: float | None,
    ) -> "FoundEdge":
        """From source, mark and target, and the three shares: forward, backward, undirected."""
        source, mark, target = edge
        forward, backward, undirected = shares
        known = (p_adjacent, forward if mark == "-->" else undirected, frequency)
        confidence = min(p for p in known if p is not None)
        return cls(source, target, mark, p_adjacent, forward, backward, undirected, frequency, confidence, spread)

    @property
    def p_mark(self) -> float:
        """Probability of the mark that the graph has, given that the two are adjacent."""
        return self.p_forward if self.mark == "-->" else self.p_undirected

    @property
    def p_marks(self) -> tuple[float, ...]:
        """The probabilities of what stands at the edge, given that the two are adjacent: `p_mark` alone."""
        return (self.p_mark,)

    def __str__(self) -> str:
        return f"{self.source} {self.mark} {self.target}"


@dataclass(frozen=True)
class FoundPagEdge:
    """One edge of a PAG, with the probabilities of the marks at both ends; all numbers are in [0, 1]."""

    source: str
    target: str
    mark: str
    """`-->`, `<->`, `o->` or `o-o`: a tail at a variable says that it is a cause of the other, in every graph of the
    class; an arrow that it is none; a circle that the class has graphs with either."""
    p_adjacent: float
    """Probability that the two are adjacent."""
    p_source_arrow: float
    """Probability of an arrow at the source, given that the two are adjacent; so are the next five."""
    p_source_tail: float
    """Of a tail at the source."""
    p_source_circle: float
    """Of a circle at the source."""
    p_target_arrow: float
    """Of an arrow at the target."""
    p_target_tail: float
    """Of a tail at the target."""
    p_target_circle: float
    """Of a circle at the target."""
    confidence: float
    """The least of `p_adjacent` and the probabilities of the two marks that the graph has."""
    visible: bool
    """Whether no hidden common cause acts on the two besides the arrow; False for other edges."""
    frequency: float | None = None
    """None: no subsamples are drawn."""
    spread: float | None = None
    """Standard deviation of `p_adjacent` over subsamples; None without subsamples."""

    @classmethod
    def of(
        cls, edge: tuple[str, str, str], p_adjacent: float, shares: Sequence[float], visible: bool, spread: float | None
    ) -> "FoundPagEdge":
        """From source, mark and target, and six shares: of `END_COLUMNS` at the source, then at the target."""
        source, sign, target = edge
        confidence = min(p_adjacent, *(shares[place] for place in _drawn(sign)))
        names = [f"p_{end}_{mark}" for end in ("source", "target") for mark in END_COLUMNS]
        about = {"confidence": confidence, "visible": visible, "spread": spread}
        return cls(source, target, sign, p_adjacent, **dict(zip(names, shares, strict=True)), **about)

    @property
    def p_marks(self) -> tuple[float, ...]:
        """The probabilities of the marks that the graph has, at the source and at the target, given adjacency."""
        shares = [getattr(self, f"p_{end}_{mark}") for end in ("source", "target") for mark in END_COLUMNS]
        return tuple(shares[place] for place in _drawn(self.mark))

    def __str__(self) -> str:
        return f"{self.source} {self.mark} {self.target}"


def _drawn(sign: str) -> tuple[int, int]:
    """Places of the two marks of an edge among its six shares."""
    places = {Mark[name.upper()]: k for k, name in enumerate(END_COLUMNS)}
    return places[LEFT[sign[0]]], len(places) + places[RIGHT[sign[-1]]]


EdgeRecord = FoundEdge | FoundPagEdge
"""An edge of a class of DAGs, or of a PAG."""


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
