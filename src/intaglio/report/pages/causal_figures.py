"""Figures of a found graph: every pair's probability, and small bars for a row of a table. Inline SVG, no script."""

from collections.abc import Sequence

from markupsafe import Markup

from intaglio.causal.results.discovery import Discovery
from intaglio.causal.results.records import FoundEdge
from intaglio.report.kit.axes import at, svg

SIDES, SPACE, MOST = (18.0, 30.0), 340.0, 60
"""Least and largest side of a pair's square; what all of them share; variables beyond which they are too many."""
SHOWN = 26
"""Letters of a name beside the squares."""
LETTER = 6.4


def pair_plot(found: Discovery) -> Markup | None:
    """A triangle with a square a pair, the stronger in colour the more probably adjacent; the graph's edges are framed.

    None for one variable, and for so many that nobody could read it.
    """
    names, d = found.names, len(found.names)
    if not 1 < d <= MOST:
        return None
    cell = min(max(SPACE / d, SIDES[0]), SIDES[1])
    shown = [name if len(name) <= SHOWN else name[: SHOWN - 1] + "…" for name in names]
    parts: list[Markup] = []
    square = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}" fill-opacity="{}"><title>{}</title></rect>')
    for i in range(d):
        for j in range(i):
            p = float(found.adjacent[i, j])
            css = "pair edge" if found.graph.skeleton[i, j] else "pair"
            title = f"{names[j]}, {names[i]}: {p:.3f}"
            parts.append(
                square.format(at(j * cell + 1), at(i * cell + 1), at(cell - 2), at(cell - 2), css, f"{p:.3g}", title)
            )
        name = Markup('<text x="{}" y="{}" class="row">{}</text>')
        parts.append(name.format(at(i * cell + 4), at(i * cell + cell / 2 + 4), shown[i]))
    width, height = max(i * cell + 8 + len(shown[i]) * LETTER for i in range(d)), d * cell + 2
    label = f"Probability of an edge for every pair; {len(found.edges)} of {d * (d - 1) // 2} are edges of the graph"
    # Its size is fixed, so that a square is as large as a reader's finger whatever the page's width.
    page = (
        '<svg viewBox="0 0 {w} {h}" width="{w}" height="{h}" class="pairs" role="img" aria-label="{label}">{body}</svg>'
    )
    return Markup(page).format(w=at(width), h=at(height), label=label, body=Markup("").join(parts))


def range_bar(value: float, low: float, high: float, title: str) -> Markup:
    """A probability as a mark on a line from 0 to 1, with the range that subsamples gave it."""
    width, height, edge = 112.0, 16.0, 5.0
    span = width - 2 * edge
    parts = [
        Markup('<rect x="{}" y="7" width="{}" height="2" class="track"/>').format(at(edge), at(span)),
        Markup('<rect x="{}" y="5" width="{}" height="6" rx="3" class="band"/>').format(
            at(edge + low * span), at(max(0.0, high - low) * span)
        ),
        Markup('<circle cx="{}" cy="8" r="4" class="dot out"/>').format(at(edge + value * span)),
    ]
    return svg(Markup("").join(parts), title, title, width, height, "tiny")


def mark_bar(edge: FoundEdge) -> Markup:
    """How the probability is shared between the direction of the row, no certain direction, and the other direction."""
    width, height = 112.0, 16.0
    shares = [("forward", edge.p_forward), ("open", edge.p_undirected), ("backward", edge.p_backward)]
    total = sum(p for _, p in shares) or 1.0
    x, parts = 0.0, []
    for css, p in shares:
        piece = Markup('<rect x="{}" y="3" width="{}" height="10" class="{}"/>')
        parts.append(piece.format(at(x), at(p / total * width), css))
        x += p / total * width
    title = (
        f"{edge.source} → {edge.target}: {edge.p_forward:.2f}; either way: {edge.p_undirected:.2f}; "
        f"{edge.target} → {edge.source}: {edge.p_backward:.2f}"
    )
    return svg(Markup("").join(parts), title, title, width, height, "tiny")


def legend_squares(levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 1.0)) -> Markup:
    """The colour of a few probabilities."""
    parts = []
    for k, level in enumerate(levels):
        box = Markup('<rect x="{}" y="1" width="14" height="14" class="pair" fill-opacity="{}"/>')
        text = Markup('<text x="{}" y="27" text-anchor="middle">{}</text>')
        parts += [box.format(at(k * 32 + 9), level), text.format(at(k * 32 + 16), f"{level:g}")]
    words = "stronger colours are more probable"
    return svg(Markup("").join(parts), words, words, len(levels) * 32.0, 30.0, "steps")
