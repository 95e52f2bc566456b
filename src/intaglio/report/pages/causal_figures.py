"""Inline SVG figures of a found graph: a plot of all pairs' probabilities, and bars for the rows of a table."""

from collections.abc import Sequence

from markupsafe import Markup

from intaglio.causal.results.discovery import Discovery
from intaglio.causal.results.records import EdgeRecord, FoundEdge
from intaglio.report.kit.axes import at, svg

SIDE_RANGE, PLOT_SIDE, MAX_VARIABLES = (18.0, 30.0), 340.0, 60
"""Least and largest side of a pair's square, side of the plot, in pixels; most variables that are plotted."""
SHOWN_LETTERS = 26
"""Letters of a name that are shown beside the squares."""
LETTER = 6.4
"""Width of a letter in pixels."""


def pair_plot(found: Discovery) -> Markup | None:
    """A triangle with a square per pair, coloured by the probability of adjacency; edges of the graph are framed.

    None for one variable and for more than `MAX_VARIABLES`.
    """
    names, d = found.names, len(found.names)
    if not 1 < d <= MAX_VARIABLES:
        return None
    cell = min(max(PLOT_SIDE / d, SIDE_RANGE[0]), SIDE_RANGE[1])
    shown = [name if len(name) <= SHOWN_LETTERS else name[: SHOWN_LETTERS - 1] + "…" for name in names]
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
    # The size is fixed, so that squares can be hit by a finger at any width of the page.
    page = (
        '<svg viewBox="0 0 {w} {h}" width="{w}" height="{h}" class="pairs" role="img" aria-label="{label}">{body}</svg>'
    )
    return Markup(page).format(w=at(width), h=at(height), label=label, body=Markup("").join(parts))


def range_bar(value: float, low: float, high: float, title: str) -> Markup:
    """A probability as a dot on a line from 0 to 1, with its interval over subsamples."""
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


def mark_bars(edge: EdgeRecord) -> list[Markup]:
    """Stacked bars of the probabilities of what may stand at an edge.

    One bar for a class of DAGs: of the row's direction, of reversible, and of the other direction. Two for a PAG, of
    its first and its second end: of an arrowhead, a ring, and a tail.
    """
    if isinstance(edge, FoundEdge):
        title = (
            f"{edge.source} → {edge.target}: {edge.p_forward:.2f}; either way: {edge.p_undirected:.2f}; "
            f"{edge.target} → {edge.source}: {edge.p_backward:.2f}"
        )
        return [_stacked((edge.p_forward, edge.p_undirected, edge.p_backward), title)]
    ends = {
        edge.source: (edge.p_source_arrow, edge.p_source_circle, edge.p_source_tail),
        edge.target: (edge.p_target_arrow, edge.p_target_circle, edge.p_target_tail),
    }
    words = "at {}: arrowhead {:.2f}, ring {:.2f}, tail {:.2f}"
    return [_stacked(shares, words.format(name, *shares)) for name, shares in ends.items()]


def _stacked(shares: tuple[float, float, float], title: str) -> Markup:
    width, height = 112.0, 16.0
    total, x, parts = sum(shares) or 1.0, 0.0, []
    for css, p in zip(("forward", "open", "backward"), shares, strict=True):
        piece = Markup('<rect x="{}" y="3" width="{}" height="10" class="{}"/>')
        parts.append(piece.format(at(x), at(p / total * width), css))
        x += p / total * width
    return svg(Markup("").join(parts), title, title, width, height, "tiny")


def legend_squares(levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 1.0)) -> Markup:
    """A legend of the colours of a few probabilities."""
    parts = []
    for k, level in enumerate(levels):
        box = Markup('<rect x="{}" y="1" width="14" height="14" class="pair" fill-opacity="{}"/>')
        text = Markup('<text x="{}" y="27" text-anchor="middle">{}</text>')
        parts += [box.format(at(k * 32 + 9), level), text.format(at(k * 32 + 16), f"{level:g}")]
    words = "stronger colours are more probable"
    return svg(Markup("").join(parts), words, words, len(levels) * 32.0, 30.0, "steps")
