"""Figures of a report as inline SVG: ROC, loss curves, strips of scores, p-values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from intaglio.report.kit.axes import (
    BOTTOM,
    HEIGHT,
    RIGHT,
    TOP,
    WIDTH,
    Real,
    Scale,
    at,
    frame,
    left_margin,
    line,
    number,
    padded,
    path,
    percent,
    svg,
    text,
)

DOT_RADIUS = 4.0
"""Drawing units."""


@dataclass(frozen=True)
class Dot:
    """One picture in a figure."""

    value: Real
    name: str
    """Text of its tooltip."""
    kind: str
    """Class in the style sheet: `in`, `out` or `ctl`."""


@dataclass(frozen=True)
class Strip:
    """A row of dots under one label."""

    label: str
    dots: Sequence[Dot]


def marker(x: Real, y: Real, kind: str, title: str) -> Markup:
    """A dot; pictures called in are squares, so that colour is not the only sign."""
    if kind == "in":
        shape = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="dot in"><title>{}</title></rect>')
        return shape.format(at(x - DOT_RADIUS), at(y - DOT_RADIUS), at(2 * DOT_RADIUS), at(2 * DOT_RADIUS), title)
    shape = Markup('<circle cx="{}" cy="{}" r="{}" class="dot {}"><title>{}</title></circle>')
    return shape.format(at(x), at(y), at(DOT_RADIUS), kind, title)


def spread(positions: Sequence[Real], gap: Real, rows: int) -> list[int]:
    """A row in -rows..rows for each position so that neighbours nearer than `gap` do not overlap, nearest row first.

    When every row is taken the dot goes to the middle one: overlap is then unavoidable.
    """
    order = [0, *(sign * k for k in range(1, rows + 1) for sign in (1, -1))]
    last: dict[int, Real] = {}
    chosen = [0] * len(positions)
    for i in sorted(range(len(positions)), key=lambda k: positions[k]):
        row = next((r for r in order if positions[i] - last.get(r, -1e9) >= gap), 0)
        last[row] = positions[i]
        chosen[i] = row
    return chosen


def strip_plot(
    strips: Sequence[Strip],
    thresholds: Sequence[Real],
    axis: str,
    width: Real = WIDTH,
    css: str = "plot",
    things: str = "pictures",
) -> Markup:
    """Scores of things in one row a group, with each threshold as a vertical line; `axis` says what they mean."""
    row_height, head = 74.0, 26.0
    bottom = head + row_height * len(strips)
    values = [dot.value for strip in strips for dot in strip.dots]
    x = Scale(*padded([*values, *thresholds]), 12.0, width - 12.0)
    parts: list[Markup] = []
    for k, strip in enumerate(strips):
        top = head + k * row_height
        middle = top + row_height / 2 + 8
        parts.append(line(x.start, middle, x.end, middle, "grid"))
        parts.append(text(x.start, top + 14, f"{strip.label} ({len(strip.dots)})", "start", "row"))
        rows = spread([x(dot.value) for dot in strip.dots], 2 * DOT_RADIUS + 0.5, 2)
        parts += [
            marker(x(dot.value), middle + row * (2 * DOT_RADIUS + 1), dot.kind, f"{dot.name}: {number(dot.value)}")
            for dot, row in zip(strip.dots, rows, strict=True)
        ]
    parts += [line(x(threshold), head - 6, x(threshold), bottom, "cut") for threshold in thresholds]
    if thresholds:
        # One label for all, in their middle: two of them could write over each other.
        centre = sum(x(threshold) for threshold in thresholds) / len(thresholds)
        anchor = "end" if centre > width * 0.7 else "start" if centre < width * 0.3 else "middle"
        label = f"threshold{'s' if len(thresholds) > 1 else ''} {' and '.join(number(one) for one in thresholds)}"
        parts.append(text(centre, 13, label, anchor, "cutl"))
    parts.append(line(x.start, bottom, x.end, bottom, "ax"))
    for tick in x.ticks():
        parts += [line(x(tick), bottom, x(tick), bottom + 4, "ax"), text(x(tick), bottom + 16, number(tick))]
    parts.append(text((x.start + x.end) / 2, bottom + 33, axis, css="ttl"))
    described = "; ".join(f"{s.label}: {len(s.dots)} {things}" for s in strips)
    return svg(Markup("").join(parts), "Scores", described, width, bottom + 40, css)


def place_in_nulls(
    value: Real, nulls: Sequence[Real], thresholds: Sequence[Real], kind: str, span: tuple[Real, Real]
) -> Markup:
    """A thin strip with the score of one picture among those of the controls."""
    width, height = 180.0, 26.0
    x = Scale(*span, 6.0, width - 6.0)
    parts = [line(x.start, 16, x.end, 16, "grid")]
    parts += [line(x(v), 11, x(v), 21, "tick") for v in nulls]
    parts += [line(x(threshold), 4, x(threshold), 26, "cut") for threshold in thresholds]
    parts.append(marker(x(value), 16, kind, number(value)))
    beaten = sum(v < value for v in nulls)
    return svg(
        Markup("").join(parts),
        "Place among the controls",
        f"above {beaten} of {len(nulls)} controls",
        width,
        height,
        "mini",
    )


def box(
    x_low: Real, x_high: Real, y_low: Real, y_high: Real, log_x: bool = False, log_y: bool = False
) -> tuple[Scale, Scale]:
    """The two scales of a figure of the usual size."""
    y = Scale(y_low, y_high, HEIGHT - BOTTOM, TOP, log_y)
    left = left_margin([number(tick) for tick in y.ticks()])
    return Scale(x_low, x_high, left, WIDTH - RIGHT, log_x), y


def stairs(points: Sequence[tuple[Real, Real]]) -> list[tuple[Real, Real]]:
    """Corner points of a right-continuous step curve through (fpr, tpr) points."""
    corners = [points[0]]
    for (_, before), (fpr, tpr) in pairwise(points):
        corners += [(fpr, before), (fpr, tpr)]
    return corners


def roc_plot(curve: Sequence[tuple[Real, Real]], negatives: int, log: bool = False) -> Markup:
    """True-positive rate over false-positive rate; `curve` runs from (0, 0) to (1, 1).

    On log axes the part that `negatives` pictures cannot resolve (below 1/negatives) is shaded.
    """
    if log:
        return _roc_log(curve, negatives)
    x, y = box(0, 1, 0, 1)
    parts = [frame(x, y, "false-positive rate", "true-positive rate", percent, percent)]
    parts.append(path([(x(0), y(0)), (x(1), y(1))], "chance"))
    parts.append(text(x(0.66), y(0.58), "chance", "start", "note"))
    parts.append(path([(x(f), y(t)) for f, t in curve], "curve"))
    return svg(Markup("").join(parts), "ROC", "true-positive rate over false-positive rate, linear axes")


def _roc_log(curve: Sequence[tuple[Real, Real]], negatives: int) -> Markup:
    finest = 1 / max(negatives, 1)
    floor = min(0.01, finest / 2)
    positive = [t for _, t in curve if t > 0]
    x, y = box(floor, 1, min([0.05, *(t * 0.8 for t in positive)]), 1, log_x=True, log_y=True)
    parts = [frame(x, y, "false-positive rate (log)", "true-positive rate (log)", percent, percent)]
    shade = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="blind"/>')
    parts.append(shade.format(at(x.start), at(y.end), at(x(finest) - x.start), at(y.start - y.end)))
    parts.append(text((x.start + x(finest)) / 2, y(0.5), f"finer than {negatives}", css="note"))
    parts.append(text((x.start + x(finest)) / 2, y(0.5) + 13, "pictures can tell", css="note"))
    chance = max(floor, y.low)
    parts.append(path([(x(chance), y(chance)), (x(1), y(1))], "chance"))
    points = [(max(f, floor), t) for f, t in stairs(curve) if t > 0]
    if points:
        parts.append(path([(x(f), y(t)) for f, t in points], "curve"))
    return svg(
        Markup("").join(parts), "ROC, log axes", "true-positive rate over false-positive rate, both axes logarithmic"
    )


def p_value_plot(dots: Sequence[Dot], rate: Real, smallest: Real | None) -> Markup:
    """Sorted p-values by rank on a log axis: were no picture in the set, they would follow the dashed line."""
    ordered = sorted(dots, key=lambda dot: dot.value)
    n = len(ordered)
    floor = min([0.5 * d.value for d in ordered if d.value > 0] + [smallest * 0.5 if smallest else 0.02, rate * 0.5])
    x, y = box(0.5, max(n, 1) + 0.5, max(floor, 1e-12), 1, log_y=True)
    parts = [frame(x, y, "pictures, smallest p first", "p-value (log)", number, number)]
    parts.append(path([(x(k), y(k / (n + 1))) for k in range(1, n + 1)] or [(x(1), y(1))], "chance"))
    parts.append(line(x.start, y(rate), x.end, y(rate), "cut"))
    parts.append(text(x.end, y(rate) - 5, f"asked rate {percent(rate)}", "end", "cutl"))
    if smallest:
        parts.append(line(x.start, y(smallest), x.end, y(smallest), "limit"))
        parts.append(text(x.end, y(smallest) + 12, f"smallest attainable {number(smallest)}", "end", "note"))
    parts += [marker(x(k), y(d.value), d.kind, f"{d.name}: p = {number(d.value)}") for k, d in enumerate(ordered, 1)]
    return svg(Markup("").join(parts), "p-values", f"{n} sorted p-values, smallest first")


def smoothed(values: Sequence[Real], window: int) -> list[Real]:
    """Running mean over the last `window` values (fewer at the start)."""
    out, total = [], 0.0
    for k, value in enumerate(values):
        total += value - (values[k - window] if k >= window else 0.0)
        out.append(total / min(k + 1, window))
    return out


def thinned(points: Sequence[tuple[Real, Real]], most: int = 400) -> list[tuple[Real, Real]]:
    """At most `most` of the points, evenly taken, the last one kept."""
    if len(points) <= most:
        return list(points)
    stride = len(points) / most
    return [points[int(k * stride)] for k in range(most - 1)] + [points[-1]]


def curve_plot(
    series: Mapping[str, Sequence[tuple[Real, Real]]], x_label: str, y_label: str, window: int = 1
) -> Markup:
    """One or two curves over steps; with `window` above 1 the raw values are drawn faintly under a running mean.

    Curves are named in the figure, but for a single one that has the axis's own name.
    """
    everything = [p for points in series.values() for p in points]
    low, high = (min(p[0] for p in everything), max(p[0] for p in everything)) if everything else (0, 1)
    y_low, y_high = padded([p[1] for p in everything])
    x, y = box(low, high if high > low else low + 1, y_low, y_high)
    parts = [frame(x, y, x_label, y_label)]
    for k, (name, points) in enumerate(series.items()):
        css = f"s{k % 2}"
        if window > 1:
            parts.append(path([(x(a), y(b)) for a, b in thinned(points)], f"raw {css}"))
        means = smoothed([b for _, b in points], window)
        drawn = thinned([(a, b) for (a, _), b in zip(points, means, strict=True)])
        parts.append(path([(x(a), y(b)) for a, b in drawn], f"curve {css}"))
        if list(series) != [y_label]:
            parts.append(text(x.end, TOP + 12 + 15 * k, name, "end", f"key {css}"))
    return svg(Markup("").join(parts), y_label, f"{', '.join(series)} over {x_label}")


def watch_plot(
    fidelity: Sequence[tuple[Real, Real]],
    quality: Sequence[tuple[Real, Real]],
    shaded: Sequence[tuple[Real, Real]],
    kept: Real | None,
) -> Markup:
    """Likeness and freedom from noise over the steps; corruption stages shaded, the step that was kept as a line."""
    values = [value for _, value in (*fidelity, *quality)]
    low, high = fidelity[0][0], fidelity[-1][0]
    x, y = box(low, high if high > low else low + 1, min(0.0, *values), max(1.1, *values))
    parts = []
    for start, end in shaded:
        shade = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="blind"/>')
        parts.append(shade.format(at(x(start)), at(y.end), at(max(2.0, x(end) - x(start))), at(y.start - y.end)))
        parts.append(text((x(start) + x(end)) / 2, y.start - 6, "corruption", css="note"))
    parts.append(frame(x, y, "step", ""))
    for css, points in (("s0", fidelity), ("s1", quality)):
        parts.append(path([(x(step), y(value)) for step, value in points], f"curve {css}"))
        parts += [
            marker(x(step), y(value), "in" if css == "s0" else "out", f"{step:g}: {number(value)}")
            for step, value in points
        ]
    if kept is not None:
        parts.append(line(x(kept), y.end, x(kept), y.start, "cut"))
        anchor = "end" if x(kept) > (x.start + x.end) / 2 else "start"
        parts.append(text(x(kept) + (-5 if anchor == "end" else 5), y.end + 9, f"kept: step {kept:g}", anchor, "cutl"))
    described = f"{len(fidelity)} judgements; " + (
        "; ".join(f"corruption from {a:g} to {b:g}" for a, b in shaded) or "no corruption"
    )
    return svg(Markup("").join(parts), "Likeness and quality over the steps", described)
