"""The views of causal discovery: what its templates are given."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from intaglio.report.kit.views import Page, PageTable, Row


@dataclass(frozen=True)
class EdgeView:
    """One edge of a found graph."""

    source: str
    sign: str
    """→ or —; of a PAG also ↔, ○→ and ○–○"""
    target: str
    visible: bool
    """Whether it is an arrow beside which no hidden cause can act."""
    adjacent: str
    adjacent_bar: Markup
    interval: str
    """Empty where no subsamples were drawn, as is `frequency`."""
    marks: Sequence[Row]
    """Probability and bar of the mark, of a PAG those of the first and of the second mark."""
    frequency: str
    confidence: str
    weak: bool
    """Whether its confidence is below one half."""


@dataclass(frozen=True, kw_only=True)
class DiscoverPage(Page):
    """A causal graph that was found in a table."""

    large: bool
    """Whether the graph is drawn at its own size in place of the page's width."""
    graph: Markup
    graph_text: str
    marks: Sequence[Row]
    """What the lines of the drawing mean."""
    shares: Sequence[Row]
    """What the pieces of the bars of marks mean, by their CSS class."""
    files: Sequence[Row]
    edges: Sequence[EdgeView]
    edges_text: str
    often: bool
    """Whether subsamples were drawn."""
    pairs: Markup | None
    """None where there are too many pairs to be seen."""
    pairs_legend: Markup
    near: PageTable
    """Pairs close to an edge; its name is a sentence about all pairs."""
    near_text: str
    triples: Sequence[PageTable]
    """Colliders, and the other triples."""
    triples_text: str
    columns: PageTable
    columns_text: str
    scores: Sequence[Row]
    """Empty where no true graph was given."""
    trust: Sequence[Row]
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class ChangesView:
    """Mechanisms that change with a context, and the tests behind a graph."""

    text: str
    edges: PageTable
    """Each edge with its p-value and the rule that oriented it."""
    edges_text: str
    forces: Sequence[Row]
    """Curves of changes over a time."""
    domains: PageTable
    """The leading component of each change by domain."""
    choices: PageTable
    """Directions by independent changes, also those that were not decided."""
    tests: PageTable


@dataclass(frozen=True, kw_only=True)
class ChangesPage(DiscoverPage):
    """A causal graph that was found by tests and changes, without probabilities."""

    changes: ChangesView
