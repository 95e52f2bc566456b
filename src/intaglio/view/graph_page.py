"""The page of a found causal graph: its drawing, and the probabilities behind each edge."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from intaglio.causal.formats.svg import STYLE, probability_text
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.results.records import EdgeRecord, FoundEdge, FoundPagEdge, FoundTriple
from intaglio.causal.results.text import most_probable_first
from intaglio.report.kit.format import rate_text
from intaglio.report.pages.changes_page import tested_edge
from intaglio.report.pages.discover_page import RESULT, edge_view

STYLE_SHEET = STYLE
"""The style sheet within the drawing, of which the page's policy wants the hash."""
TESTED = "Tests decided on these edges, each with the largest p-value among its own; they have no probabilities."
PROBABLE = (
    "The most probable first. Adjacent: the probability that there is an edge at all; then, given that there is one, "
    "of {}. Confidence is the least of those that the graph shows."
)
SHOWN = 300
"""Edges that are listed, at most."""


@dataclass(frozen=True)
class EdgeEvidence:
    """An edge with all that is known of it."""

    mark: str
    """Of its place in the page's address."""
    source: str
    sign: str
    target: str
    value: str
    """Its probability, or the largest p-value of its tests."""
    weak: bool
    """Whether its confidence is below 0.5."""
    bar: Markup | None
    """Its probability with its interval, as a figure; None where tests decided."""
    facts: Sequence[tuple[str, str]]
    """Names and probabilities."""
    triples: Sequence[tuple[str, str]]
    """Unshielded triples that it is part of, and what they are."""


@dataclass(frozen=True)
class GraphView:
    """The content of the page."""

    drawing: Markup
    edges: Sequence[EdgeEvidence]
    left: int
    """Edges beyond those that are listed."""
    names: int
    kind: str
    words: str
    """How the numbers are to be read."""


def graph_view(folder: Path) -> GraphView:
    """The page of the discovery in a run's folder. Raises `BadInput` where its files are damaged."""
    found = Discovery.load(folder / RESULT)
    edges = list(most_probable_first(found.edges))
    links = {(edge.source, edge.target): f"#edge-{k}" for k, edge in enumerate(edges[:SHOWN])}
    listed = [_evidence(f"edge-{k}", edge, found) for k, edge in enumerate(edges[:SHOWN])]
    words = (
        TESTED
        if found.changes is not None
        else PROBABLE.format("the mark at each end" if found.graph.kind == "PAG" else "which way it points")
    )
    drawing = Markup(found.to_svg(links))
    return GraphView(drawing, listed, max(0, len(edges) - SHOWN), len(found.names), found.graph.kind, words)


def _evidence(mark: str, edge: EdgeRecord, found: Discovery) -> EdgeEvidence:
    shown, tested = edge_view(edge), found.changes is not None
    if found.changes is not None:
        _, p, why = tested_edge(edge, found.changes)
        facts = [("largest p", p), ("why it points so", why)]
    else:
        facts = _facts(edge, shown.interval)
    return EdgeEvidence(
        mark=mark,
        source=edge.source,
        sign=shown.sign,
        target=edge.target,
        value=facts[0][1].partition(" ")[0],
        weak=not tested and edge.confidence < 0.5,
        bar=None if tested else shown.adjacent_bar,
        facts=facts,
        triples=[_triple(one, tested) for one in found.triple_records if _has(one, edge)],
    )


def _facts(edge: EdgeRecord, interval: str) -> list[tuple[str, str]]:
    facts = [("adjacent", probability_text(edge.p_adjacent) + (f" ({interval})" if interval else ""))]
    facts += _directions(edge) if isinstance(edge, FoundEdge) else _ends(edge)
    if edge.frequency is not None:
        facts.append(("in subsamples", rate_text(edge.frequency)))
    return [*facts, ("confidence", probability_text(edge.confidence))]


def _directions(edge: FoundEdge) -> list[tuple[str, str]]:
    return [
        (f"{edge.source} → {edge.target}", probability_text(edge.p_forward)),
        ("either way", probability_text(edge.p_undirected)),
        (f"{edge.target} → {edge.source}", probability_text(edge.p_backward)),
    ]


def _ends(edge: FoundPagEdge) -> list[tuple[str, str]]:
    found = [("a hidden common cause", "none acts besides")] if edge.visible else []
    for end, name in (("source", edge.source), ("target", edge.target)):
        shares = [(word, getattr(edge, f"p_{end}_{mark}")) for word, mark in MARKS]
        found.append((f"at {name}", ", ".join(f"{word} {probability_text(p)}" for word, p in shares)))
    return found


MARKS = (("arrowhead", "arrow"), ("ring", "circle"), ("tail", "tail"))
"""Marks at an end of an edge: the page's word, and the record's."""


def _has(triple: FoundTriple, edge: EdgeRecord) -> bool:
    return {edge.source, edge.target} in ({triple.centre, triple.leg1}, {triple.centre, triple.leg2})


def _triple(triple: FoundTriple, tested: bool) -> tuple[str, str]:
    drawn = f"{triple.leg1}, {triple.centre}, {triple.leg2}"
    what = f"causes that meet at {triple.centre}" if triple.collider else f"no meeting at {triple.centre}"
    return drawn, what if tested else f"{what}; probability that they meet {probability_text(triple.p_collider)}"
