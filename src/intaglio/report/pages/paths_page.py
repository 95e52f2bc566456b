"""The report of paths through a classifier: the edges of a class's graph, and what the network says by these alone."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.paths.result import GRAPH, OUTCOMES, ClassGraph
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row
from intaglio.runs.read import RunData

MOST_SHOWN = 60
"""Edges of the page's table."""
WORDS = {
    "whole": "the network as it is",
    "graph": "the graph’s edges alone",
    "random": "as many random edges of each layer",
    "nothing": "no edge: every filter on its mean",
}
LIMITS: Sequence[Row] = (
    Row(
        "One edge at a time",
        "Where two edges carry the same, cutting one changes little, and neither need pass, though the score owes to "
        "both.",
    ),
    Row(
        "Beside a mean",
        "A cut edge gives what it gives on a mean over pictures of other classes. What these share with the class is "
        "in that mean, and has no effect.",
    ),
    Row(
        "Of the edges that were tested",
        "Edges of small first-order effect were not tested, and layers before the first one here are not looked into.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain paths` run; None where nothing is finished yet."""
    found = ClassGraph.load(run.folder)
    return None if found is None else paths_page(run, found)


def paths_page(run: RunData, found: ClassGraph) -> ConceptPage:
    """The page of a result."""
    figures, shares = found.figures(), found.shares
    kept = [row for row in found.rows() if row["kept"]]
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{count(len(kept), 'edge')} on paths to {found.names[-1]}"),
        lead=found.statement,
        keys=[
            Key("By the graph alone", rate_text(shares["graph"]), "of the pictures are called the class"),
            Key("By random edges", rate_text(shares["random"]), "as many of each layer"),
            Key("As it is", rate_text(shares["whole"]), f"over {count(figures['pictures'], 'picture')}"),
            Key("Tested edges", f"{figures['edges']:,}", f"false-discovery rate {found.rate:g}"),
        ],
        warnings=run.warnings,
        table=PageTable("Edges", ["source", "target", "effect", "q"], [_cells(row) for row in kept[:MOST_SHOWN]]),
        table_heading="Edges of the graph",
        table_text=f"An effect is {found.reading}; above 0 the edge speaks for the class. A filter is named by its "
        f"convolution and its number. All {len(kept):,} edges are in {GRAPH}, which intaglio’s causal verbs read, and "
        f"all that were tested in {found.table}.",
        further=(
            "The network is asked again with some edges alone, every other one being cut.",
            PageTable("What the graph says", ["edges", "called the class", "mean score"], _outcomes(found)),
        ),
        pictures=[],
        pictures_text="",
        limits=LIMITS,
    )


def _cells(row: dict) -> list[str]:
    return [row["source"], row["target"], decimal(row["effect"], 3), decimal(row["q"], 2)]


def _outcomes(found: ClassGraph) -> list[list[str]]:
    return [[WORDS[name], rate_text(found.shares[name]), decimal(found.scores[name], 3)] for name in OUTCOMES]
