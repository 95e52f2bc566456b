"""A `Discovery` in words: for a terminal, and the pieces that its page in a report shares."""

import math
from collections.abc import Sequence

from intaglio.causal.formats.svg import probability
from intaglio.causal.results.discovery import Discovery, FoundEdge

SHOWN = 5
"""Near misses and colliders that a summary lists."""


def summary(found: Discovery, *, warnings: bool = True) -> str:
    """The edges as a table, the most probable first, then what is left out and what to be careful of."""
    lines = [headline(found), ""]
    if found.edges:
        lines += [*edge_lines(found), ""]
    lines += remarks(found)
    lines += [f"Warning: {warning}" for warning in found.warnings if warnings]
    return "\n".join(lines)


def headline(found: Discovery) -> str:
    """What the graph is, in one line."""
    directed = sum(edge.mark == "-->" for edge in found.edges)
    kinds = f" ({directed} directed, {len(found.edges) - directed} undirected)" if found.edges else ""
    colliders = counted(len(found.graph.colliders), "collider")
    return (
        f"{found.graph.kind} of {counted(len(found.names), 'variable')}: {counted(len(found.edges), 'edge')}{kinds}, "
        f"{colliders}; {found.method} on {counted(found.rows, 'row')}, {found.seconds:.1f} s"
    )


def edge_lines(found: Discovery) -> list[str]:
    """A head and a line an edge, in aligned columns."""
    often = found.frequencies is not None
    head = ["edge", "adjacent", "this mark", *(["in subsamples"] if often else []), "confidence"]
    rows = [head]
    for edge in ordered(found.edges):
        share = [] if edge.frequency is None else [probability(edge.frequency)]
        rows.append([str(edge), with_spread(edge), probability(edge.p_mark), *share, probability(edge.confidence)])
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]


def ordered(edges: Sequence[FoundEdge]) -> list[FoundEdge]:
    """The most probable first."""
    return sorted(edges, key=lambda edge: -edge.p_adjacent)


def remarks(found: Discovery) -> list[str]:
    """What belongs beside the table of edges, a sentence a line."""
    lines = [MEANING] if any(edge.mark == "---" for edge in found.edges) else []
    if found.edges:
        lines.append(NUMBERS)
    else:
        lines.append("No two columns were found to be adjacent.")
    if near := found.near_misses()[:SHOWN]:
        pairs = "; ".join(f"{pair.first}, {pair.second} {probability(pair.p_adjacent)}" for pair in near)
        lines.append(f"Apart, but not safely so (probability of an edge): {pairs}.")
    return lines + [
        line for line in (left_out(found), doubtful(found), known(found), decoding(found), range_words(found)) if line
    ]


MEANING = "--- means that the data cannot tell the direction: graphs with either one fit them alike."

NUMBERS = (
    "adjacent: the probability of an edge; this mark: given one, of --> or --- as it stands here; confidence: the "
    "least of the row."
)


def doubtful(found: Discovery) -> str:
    """How many edges have a mark that is less probable than not; empty where there are none."""
    count = sum(edge.p_mark < 0.5 for edge in found.edges)
    if not count:
        return ""
    return (
        f"Of {count} of {counted(len(found.edges), 'edge')} this mark is less probable than not: one by one they would "
        "have others, but all must fit one graph."
    )


def known(found: Discovery) -> str:
    """What knowledge changed; empty where there was none."""
    if found.graph.kind != "MPDAG":
        return ""
    return (
        "What was known took part in the graph and its directions; how probable an edge is comes from the rows alone."
    )


def left_out(found: Discovery) -> str:
    """Columns without edges because they say nothing of their own; empty where there are none."""
    parts = [f"{name} (constant)" for name in found.isolated]
    parts += [f"{name} (the same as {group[0]})" for group in found.duplicates for name in group[1:]]
    return f"Left out: {', '.join(parts)}." if parts else ""


def decoding(found: Discovery) -> str:
    """How far the probabilities contradicted each other; empty where they did not."""
    parts = []
    if found.conflicts:
        parts.append(f"{counted(found.conflicts, 'probable collider')} contradicted more probable ones and left out")
    if found.fallback:
        parts.append("no acyclic graph had all the others, so the best one was searched for")
    return f"Contradictions: {'; '.join(parts)}." if parts else ""


def range_words(found: Discovery) -> str:
    """How much of the table is unlike what the method was trained on; empty where nothing is, or it does not say."""
    if math.isnan(found.ood_score) or not (found.ood_score or found.ood_reasons):
        return ""
    why = f": {'; '.join(found.ood_reasons)}" if found.ood_reasons else ""
    return f"Unlike the training tables in {found.ood_score:.0%} of what is compared{why}."


def with_spread(edge: FoundEdge) -> str:
    """The probability of adjacency, with its standard deviation over subsamples where it is known."""
    return probability(edge.p_adjacent) + ("" if edge.spread is None else f" ± {edge.spread:.2f}")


def counted(number: int, thing: str) -> str:
    """A number with its noun: 1 edge, 2,000 rows."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
