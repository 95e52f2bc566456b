"""SVG drawings of graphs: boxes in layers, both marks of each edge, probabilities beside the edges.

No script, no external program. Colours follow light and dark; a drawing of 30 variables is about 1400 units wide.
"""

from collections.abc import Mapping
from itertools import pairwise
from unicodedata import east_asian_width

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from numpy import ndarray

from intaglio.causal.formats.svg_layout import GraphLayout, Point, layered_layout
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark
from intaglio.errors import BadInput
from intaglio.printable import one_line

BOX_HEIGHT, LETTER_WIDTH = 28.0, 7.0
"""Height of a box, and width of a letter at font size 12, in drawing units."""
SHOWN_LETTERS = 22
"""Letters of a name that are shown; the box's title has the whole name."""
ARROWHEAD_LENGTH, CIRCLE_RADIUS = 8.0, 3.6
"""Length of an arrowhead and radius of a circle, in drawing units."""
STYLE = """
.causal{--ink:#16191d;--soft:#5a626b;--sheet:#fff;--box:#eef2f6;--edge:#3d4852;--both:#b3331d;max-width:100%;height:auto}
@media(prefers-color-scheme:dark){
.causal{--ink:#eceae4;--soft:#a3a9b0;--sheet:#1a1d21;--box:#262d35;--edge:#aab4bf;--both:#ff8b6e}}
.causal text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;fill:var(--ink)}
.causal .box{fill:var(--box);stroke:var(--soft);stroke-width:1}
.causal .run{fill:none;stroke:var(--edge);stroke-width:1.4}
.causal .sure .run{stroke-width:2.2}.causal .likely{opacity:.85}.causal .unsure{opacity:.7}.causal .faint{opacity:.5}
.causal .unsure .run{stroke-dasharray:5 4}.causal .faint .run{stroke-width:1;stroke-dasharray:1.5 4}
.causal .tip{fill:var(--edge)}.causal .ring{fill:var(--sheet);stroke:var(--edge);stroke-width:1.4}
.causal .both .run{stroke:var(--both)}.causal .both .tip{fill:var(--both)}
.causal .p{font-size:10px;fill:var(--soft)}.causal .under{fill:var(--sheet);opacity:.88}
"""
LINES = {"sure": 0.9, "likely": 0.5, "unsure": 0.1, "faint": 0.0}
"""Least probability of an edge by the class of its line: thick, thin, dashed, dotted and pale."""
EdgeProbabilities = Mapping[tuple[str, str], float]


def to_svg(
    graph: Graph, probabilities: EdgeProbabilities | None = None, links: Mapping[tuple[str, str], str] | None = None
) -> str:
    """The SVG of a graph.

    An arrowhead, a ring (a circle mark) or nothing (a tail) stands at each end; edges with arrows at both ends are
    red; the less probable an edge, the fainter it is (`LINES`).

    Args:
        graph: a graph of any kind; readable up to about 60 variables.
        probabilities: probabilities in [0, 1] to write beside edges, by their two names in either order.
        links: addresses that edges lead to, by their two names in either order, for a drawing within a page.

    Raises:
        BadInput: a probability of a pair that has no edge, or outside [0, 1].
    """
    known = _checked(graph, probabilities or {})
    widths = [max(34.0, _width(_short(name)) + 18) for name in graph.names]
    layout = layered_layout(graph, widths, BOX_HEIGHT)
    curves = {ends: _curve(route) for ends, route in layout.routes.items()}
    led = {frozenset(pair): address for pair, address in (links or {}).items()}
    parts = [_edge(graph, ends, curve, known, led) for ends, curve in curves.items()]
    parts += [_box(name, x, y, w) for name, (x, y), w in zip(graph.names, layout.centres, layout.widths, strict=True)]
    parts += _labels(graph, layout, curves, known)
    return _page(graph, layout, Markup("\n").join(parts), "group" if led else "img")


def _checked(graph: Graph, probabilities: EdgeProbabilities) -> dict[frozenset[str], float]:
    found = {frozenset({edge.first, edge.second}) for edge in graph.edges}
    for (a, b), p in probabilities.items():
        if frozenset({a, b}) not in found:
            raise BadInput(f"{a} and {b} have a probability but no edge in the graph; leave it out")
        if not 0 <= p <= 1:
            raise BadInput(f"the probability of {a} and {b} is {p:g}; it lies in 0 to 1")
    return {frozenset(pair): p for pair, p in probabilities.items()}


def _short(name: str) -> str:
    shown = one_line(name)
    return shown if len(shown) <= SHOWN_LETTERS else shown[: SHOWN_LETTERS - 1] + "…"


def _width(text: str, letter: float = LETTER_WIDTH) -> float:
    return sum(letter * (1.9 if east_asian_width(c) in "WF" else 1.25 if c in "MWmw@" else 1.0) for c in text)


Curve = list[tuple[Point, Point, Point, Point]]
"""Cubic Bézier pieces: start, two control points, end."""


def _curve(route: tuple[Point, ...]) -> Curve:
    """Bézier pieces from point to point, vertical at both ends."""
    pieces = []
    for (x1, y1), (x2, y2) in pairwise(route):
        lean = (y2 - y1) * 0.45
        pieces.append(((x1, y1), (x1, y1 + lean), (x2, y2 - lean), (x2, y2)))
    return pieces


def _at(piece: tuple[Point, Point, Point, Point], t: float) -> Point:
    s = 1 - t
    weights = (s**3, 3 * s * s * t, 3 * s * t * t, t**3)
    x, y = (sum(w * point[axis] for w, point in zip(weights, piece, strict=True)) for axis in (0, 1))
    return x, y


def _n(value: float) -> str:
    return (
        f"{value:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")
    )


def _edge(
    graph: Graph,
    ends: tuple[int, int],
    curve: Curve,
    known: dict[frozenset[str], float],
    led: Mapping[frozenset[str], str],
) -> Markup:
    a, b = ends
    at_a, at_b = Mark(graph.marks[b, a]), Mark(graph.marks[a, b])
    pair = frozenset({graph.names[a], graph.names[b]})
    (x1, y1), (x2, y2) = curve[0][0], curve[-1][3]
    y1, y2 = y1 + _room(at_a), y2 - _room(at_b)
    steps = [f"M{_n(x1)} {_n(y1)}"]
    for k, (_, one, two, end) in enumerate(curve):
        x, y = (x2, y2) if k == len(curve) - 1 else end
        steps.append(f"C{_n(one[0])} {_n(one[1])} {_n(two[0])} {_n(two[1])} {_n(x)} {_n(y)}")
    run = Markup('<path class="run" d="{}"/>').format(" ".join(steps))
    title = one_line(str(next(edge for edge in graph.edges if {edge.first, edge.second} == pair))) + (
        f", p = {known[pair]:.3g}" if pair in known else ""
    )
    marks = _end(at_a, x1, curve[0][0][1], 1.0) + _end(at_b, x2, curve[-1][3][1], -1.0)
    css = "both" if at_a == at_b == Mark.ARROW else "one"
    css += f" {line_class(known[pair])}" if pair in known else ""
    drawn = Markup('<g class="{}"><title>{}</title>{}{}</g>').format(css, title, run, marks)
    if pair not in led:
        return drawn
    # A line is too thin to hit: a wide one that is not seen lies over it.
    wide = Markup('<path class="hit" d="{}"/>').format(" ".join(steps))
    return Markup('<a href="{}" aria-label="{}">{}{}</a>').format(led[pair], title, drawn, wide)


def line_class(probability: float) -> str:
    """The class of the line of an edge of this probability, in [0, 1]."""
    return next(name for name, least in LINES.items() if probability >= least)


def _room(mark: Mark) -> float:
    """Distance between box and end of the line that the mark takes."""
    return {Mark.ARROW: ARROWHEAD_LENGTH - 1, Mark.CIRCLE: 2 * CIRCLE_RADIUS}.get(mark, 0.0)


def _end(mark: Mark, x: float, y: float, away: float) -> Markup:
    """The mark at the border of a box, below (`away` 1) or above it (`away` -1)."""
    if mark == Mark.CIRCLE:
        return Markup('<circle class="ring" cx="{}" cy="{}" r="{}"/>').format(
            _n(x), _n(y + away * CIRCLE_RADIUS), CIRCLE_RADIUS
        )
    if mark == Mark.ARROW:
        base = _n(y + away * ARROWHEAD_LENGTH)
        corners = f"{_n(x)},{_n(y)} {_n(x - 4)},{base} {_n(x + 4)},{base}"
        return Markup('<polygon class="tip" points="{}"/>').format(corners)
    return Markup("")


def _box(name: str, x: float, y: float, width: float) -> Markup:
    box = '<g><title>{}</title><rect class="box" x="{}" y="{}" width="{}" height="{}" rx="7"/>'
    label = '<text x="{}" y="{}" text-anchor="middle">{}</text></g>'
    corner = (one_line(name), _n(x - width / 2), _n(y - BOX_HEIGHT / 2), _n(width), _n(BOX_HEIGHT))
    return Markup(box).format(*corner) + Markup(label).format(_n(x), _n(y + 4), _short(name))


def _labels(
    graph: Graph, layout: GraphLayout, curves: dict[tuple[int, int], Curve], known: dict[frozenset[str], float]
) -> list[Markup]:
    """EdgeProbabilities beside their edges, placed to cover the least of boxes, other labels and other edges."""
    if not known:
        return []
    names, taken, found = graph.names, [], []
    boxes = [
        (x - w / 2 - 2, y - BOX_HEIGHT / 2 - 2, x + w / 2 + 2, y + BOX_HEIGHT / 2 + 2)
        for (x, y), w in zip(layout.centres, layout.widths, strict=True)
    ]
    lines = [[_at(piece, k / 12) for piece in curve for k in range(13)] for curve in curves.values()]
    dots, of = np.array([dot for line in lines for dot in line]), np.repeat(range(len(lines)), list(map(len, lines)))
    for number, ((a, b), curve) in enumerate(curves.items()):
        pair = frozenset({names[a], names[b]})
        if pair not in known:
            continue
        text = probability_text(known[pair])
        half = _width(text, 5.8) / 2
        others = dots[of != number]
        best = min(
            _candidates(curve),
            key=lambda c, half=half, others=others: _covered(c[0], half, boxes + taken, others) + c[1],
        )
        (x, y), _ = best
        taken.append((x - half, y - 6, x + half, y + 6))
        found.append(_label(x, y, half, text))
    return found


def probability_text(value: float) -> str:
    """A probability with two decimals, and `>0.99` or `<0.01` for what would round to 1 or 0."""
    if 0.995 <= value < 1:
        return ">0.99"
    return "<0.01" if 0 < value < 0.005 else f"{value:.2f}"


def _label(x: float, y: float, half: float, text: str) -> Markup:
    under = Markup('<rect class="under" x="{}" y="{}" width="{}" height="11" rx="3"/>')
    label = Markup('<text class="p" x="{}" y="{}" text-anchor="middle">{}</text>')
    return under.format(_n(x - half - 1), _n(y - 5.5), _n(2 * half + 2)) + label.format(_n(x), _n(y + 3.5), text)


def _candidates(curve: Curve) -> list[tuple[Point, float]]:
    """Positions for a label, with a small penalty for distance from the middle."""
    middle = len(curve) / 2
    positions = [(k, t) for k in range(len(curve)) for t in (0.3, 0.4, 0.5, 0.6, 0.7)]
    return [(_at(curve[k], t), 0.3 * abs(k + t - middle)) for k, t in positions]


def _covered(
    position: Point, half: float, boxes: list[tuple[float, float, float, float]], dots: Float[ndarray, "k 2"]
) -> float:
    x, y = position
    hidden = sum(
        20.0 for left, top, right, low in boxes if left < x + half and x - half < right and top < y + 6 and y - 6 < low
    )
    near = (np.abs(dots[:, 0] - x) < half + 2) & (np.abs(dots[:, 1] - y) < 7)
    return hidden + float(np.count_nonzero(near))


def _page(graph: Graph, layout: GraphLayout, body: Markup, role: str) -> str:
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" class="causal" viewBox="0 0 {w} {h}" width="{w}" height="{h}" '
        'role="{role}" aria-label="{label}"><style>{style}</style>\n{body}\n</svg>\n'
    )
    label = f"{graph.kind} of {len(graph)} variables with {len(graph.edges)} edges"
    return str(
        Markup(head).format(
            w=_n(layout.width), h=_n(layout.height), label=label, style=Markup(STYLE), body=body, role=role
        )
    )
