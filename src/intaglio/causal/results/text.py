"""Sentences and aligned columns that describe a found graph, for a terminal and for the page of a report.

Each function takes only the facts that it describes, and returns the empty string where there are none.
"""

import math
from collections import Counter
from collections.abc import Sequence

from intaglio.causal.formats.svg import probability_text
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.results.records import EdgeRecord, FoundEdge, FoundPagEdge, FoundPair
from intaglio.printable import one_line

SHOWN_PAIRS = 5
"""Pairs without an edge that a summary lists."""

MARK_NOTE = "--- means that the data cannot tell the direction: graphs with either one fit them alike."

COLUMN_NOTE = (
    "adjacent: the probability of an edge; this mark: given one, of --> or --- as it stands here; confidence: the "
    "least of the row."
)

SIGN_NOTES = {
    "-->": "a --> b: a is a cause of b, in every graph that fits; a hidden cause of both may add to it.",
    "<->": "a <-> b: neither is a cause of the other; a hidden cause of both joins them.",
    "o->": "a o-> b: b is no cause of a; a is a cause of b, or a hidden cause of both joins them, or both; the data "
    "cannot tell which.",
    "o-o": "a o-o b: one is a cause of the other, or a hidden cause of both joins them, or both; the data cannot tell "
    "which.",
}
"""The edges of a PAG in words."""

PAG_COLUMN_NOTE = (
    "adjacent: of an edge; first mark, second mark: given one, of the marks at its two ends as they stand here; "
    "confidence: the least of the row."
)

CALIBRATED = (
    "Fitted on simulated tables that the method was not trained on: of pairs that are given 0.8 there, about 8 in 10 "
    "are adjacent. For a table unlike all of those the probabilities are no more than a ranking."
)
"""What calibrated probabilities are."""


def headline(graph: Graph, edges: Sequence[EdgeRecord], method: str, rows: int, seconds: float) -> str:
    """Kind and size of the graph, the method, rows and seconds, in one line."""
    signs = Counter(edge.mark for edge in edges)
    told = [f"{signs[sign]} {sign}" for sign in SIGN_NOTES if signs[sign]]
    if graph.kind != "PAG":
        told = [f"{signs['-->']} directed", f"{signs['---']} undirected"]
    kinds = f" ({', '.join(told)})" if edges else ""
    return (
        f"{graph.kind} of {counted(len(graph), 'variable')}: {counted(len(edges), 'edge')}{kinds}, "
        f"{counted(len(graph.colliders), 'collider')}; {method} on {counted(rows, 'row')}, {seconds:.1f} s"
    )


def edge_lines(edges: Sequence[EdgeRecord]) -> list[str]:
    """A head and one line per edge, most probable first, in aligned columns; no lines without edges."""
    if not edges:
        return []
    subsampled = any(edge.frequency is not None for edge in edges)
    marks = ["this mark"] if isinstance(edges[0], FoundEdge) else ["first mark", "second mark"]
    head = ["edge", "adjacent", *marks, *(["in subsamples"] if subsampled else []), "confidence"]
    rows = [head]
    for edge in most_probable_first(edges):
        share = [] if edge.frequency is None else [probability_text(edge.frequency)]
        shares = [*map(probability_text, edge.p_marks), *share, probability_text(edge.confidence)]
        rows.append([one_line(str(edge)), _with_spread(edge), *shares])
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]


def most_probable_first(edges: Sequence[EdgeRecord]) -> list[EdgeRecord]:
    """The edges by falling `p_adjacent`."""
    return sorted(edges, key=lambda edge: -edge.p_adjacent)


def edge_notes(edges: Sequence[EdgeRecord], reading: str) -> list[str]:
    """Notes that explain the columns of `edge_lines`, or that there are no edges."""
    if not edges:
        return ["No two columns were found to be adjacent."]
    signs = {edge.mark for edge in edges}
    if isinstance(edges[0], FoundPagEdge):
        return [*(note for sign, note in SIGN_NOTES.items() if sign in signs), f"{reading} {PAG_COLUMN_NOTE}"]
    return [*([MARK_NOTE] if "---" in signs else []), COLUMN_NOTE]


def near_misses(pairs: Sequence[FoundPair]) -> str:
    """The first few pairs that have no edge and yet may be adjacent."""
    shown = [(one_line(f"{pair.first}, {pair.second}"), pair.p_adjacent) for pair in pairs[:SHOWN_PAIRS]]
    listed = "; ".join(f"{names} {probability_text(p)}" for names, p in shown)
    return f"Apart, but not safely so (probability of an edge): {listed}." if listed else ""


def improbable_marks(edges: Sequence[EdgeRecord]) -> str:
    """The number of edges whose mark has a probability below one half."""
    count = sum(min(edge.p_marks) < 0.5 for edge in edges)
    if not count:
        return ""
    return (
        f"Of {count} of {counted(len(edges), 'edge')} this mark is less probable than not: one by one they would "
        "have others, but all must fit one graph."
    )


def knowledge_note(graph: Graph) -> str:
    """That background knowledge changed marks but no probabilities; for an MPDAG."""
    if graph.kind != "MPDAG":
        return ""
    return (
        "What was known took part in the graph and its directions; how probable an edge is comes from the rows alone."
    )


def left_out(isolated: Sequence[str], duplicates: Sequence[Sequence[str]]) -> str:
    """Columns without edges, as they are constant or repeat the first of their group."""
    parts = [f"{name} (constant)" for name in isolated]
    parts += [f"{name} (the same as {group[0]})" for group in duplicates for name in group[1:]]
    return f"Left out: {', '.join(parts)}." if parts else ""


def contradictions(conflicts: int, fallback: bool, *, tested: bool = False) -> str:
    """The evidence that was left out as it contradicts other evidence, as a sentence; see `contradicted`."""
    found = contradicted(conflicts, fallback, tested=tested)
    return f"Contradictions: {found}" if found else ""


def contradicted(conflicts: int, fallback: bool, *, tested: bool = False) -> str:
    """Colliders that were left out as they contradict others, and whether a DAG had to be searched for.

    They are those of tests where the graph is `tested`, else those that are probable.
    """
    parts = []
    if conflicts:
        which = "probable collider", "contradicted more probable ones"
        if tested:
            which = "collider", "contradicted surer ones or what is known"
        parts.append(f"{counted(conflicts, which[0])} {which[1]} and left out")
    if fallback:
        parts.append("no acyclic graph had all the others, so the best one was searched for")
    return f"{'; '.join(parts)}." if parts else ""


NOTABLE_SCORE = 0.1
"""Probability of a graph worse than the empty one from which it is told though no reason is known."""
WORSE_THAN_EMPTY = "Probability that the graph is worse than the empty graph"
"""Name of `Discovery.ood_score` wherever it is shown; worse: more pairs differ from the truth (SHD)."""


def out_of_distribution(score: float, reasons: Sequence[str]) -> str:
    """The probability that the graph is worse than the empty one, with reasons; empty for NaN, or small and without."""
    if math.isnan(score) or not (score >= NOTABLE_SCORE or reasons):
        return ""
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return f"{WORSE_THAN_EMPTY}: {score:.0%}{why}."


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 edge, 2,000 rows."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _with_spread(edge: EdgeRecord) -> str:
    return probability_text(edge.p_adjacent) + ("" if edge.spread is None else f" ± {edge.spread:.2f}")
