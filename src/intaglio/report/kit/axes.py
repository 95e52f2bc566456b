"""Axes of SVG figures: scales, round ticks, frame, grid and labels.

A figure is drawn about as wide as a phone (380 units), so that its 11-unit text stays readable there; on a desktop
several stand side by side. Colours come from classes that the page styles, so that a figure follows light and dark.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

Real = float | int
"""A number as a drawing takes it."""
WIDTH, HEIGHT = 380.0, 280.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 18.0, 12.0, 42.0
UPRIGHT = 19.0
"""Units at the left of a figure that the upright label of its axis takes, with the room beside it."""


@dataclass(frozen=True)
class Scale:
    """A map from data to drawing units along one axis."""

    low: Real
    high: Real
    start: Real
    end: Real
    log: bool = False

    def __post_init__(self):
        if not self.high > self.low:
            raise ValueError(f"a scale needs low < high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log scale needs low > 0, got {self.low}")

    def __call__(self, value: Real) -> Real:
        """Position of `value` in drawing units, clipped to the axis."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[Real]:
        return log_ticks(self.low, self.high) if self.log else nice_ticks(self.low, self.high, count)


def nice_ticks(low: Real, high: Real, count: int = 5) -> list[Real]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) within [low, high]."""
    if not high > low:
        return [low]
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1, 2, 5) if m * power >= raw * 0.75), 10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def log_ticks(low: Real, high: Real) -> list[Real]:
    """The powers of ten within [low, high]; with 2 and 5 between them where there are fewer than three."""
    decades = range(math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9) + 1)
    inside = [10.0**k for k in decades if low * 0.999 <= 10.0**k <= high * 1.001]
    if len(inside) > 2:
        return inside
    return [m * 10.0**k for k in decades for m in (1, 2, 5) if low * 0.999 <= m * 10.0**k <= high * 1.001]


def padded(values: Sequence[Real], share: Real = 0.06) -> tuple[Real, Real]:
    """The range of the finite `values` with a margin, also around a constant; (0, 1) where there are none."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    margin = (high - low) * share or max(abs(high), 1.0) * 0.5
    return low - margin, high + margin


def number(value: Real) -> str:
    """A short number for a tick or a label: 0.05, 1.2, 300, 1e-4."""
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def percent(value: Real) -> str:
    """A tick of a rate in [0, 1]: 100%, 5%, 0.1%."""
    return f"{value * 100:.3g}%"


def at(value: Real) -> str:
    """A coordinate, short and the same on every machine."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def line(x1: Real, y1: Real, x2: Real, y2: Real, css: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(at(x1), at(y1), at(x2), at(y2), css)


def text_width(content: str) -> float:
    """About the width of a label, in drawing units: digits are wider than points."""
    return sum(3.2 if letter in ".,:il " else 6.3 for letter in content)


def left_margin(labels: Sequence[str]) -> float:
    """Units that a vertical axis needs at its left for the labels of its ticks beside its own."""
    return max([LEFT, *(UPRIGHT + 6 + text_width(label) for label in labels)])


def text(x: Real, y: Real, content: str, anchor: str = "middle", css: str = "lbl", extra: str = "") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}"{}>{}</text>').format(
        at(x), at(y), anchor, css, Markup(extra), content
    )


def path(points: Sequence[tuple[Real, Real]], css: str) -> Markup:
    steps = " ".join(f"{'L' if i else 'M'}{at(x)} {at(y)}" for i, (x, y) in enumerate(points))
    return Markup('<path d="{}" class="{}"/>').format(steps, css)


def frame(
    x: Scale, y: Scale, x_label: str, y_label: str, x_format: Callable = number, y_format: Callable = number
) -> Markup:
    """Grid, ticks and labels of two axes."""
    parts = []
    for tick in y.ticks():
        parts += [
            line(x.start, y(tick), x.end, y(tick), "grid"),
            text(x.start - 6, y(tick) + 3.5, y_format(tick), "end"),
        ]
    for tick in x.ticks():
        parts += [line(x(tick), y.start, x(tick), y.start + 4, "ax"), text(x(tick), y.start + 16, x_format(tick))]
    parts.append(line(x.start, y.start, x.end, y.start, "ax"))
    parts.append(text((x.start + x.end) / 2, y.start + 34, x_label, css="ttl"))
    middle = (y.start + y.end) / 2
    parts.append(text(11, middle, y_label, css="ttl", extra=f' transform="rotate(-90 11 {at(middle)})"'))
    return Markup("").join(parts)


def svg(
    body: Markup, name: str, description: str, width: Real = WIDTH, height: Real = HEIGHT, css: str = "plot"
) -> Markup:
    """One figure, with a name and a description for screen readers."""
    return Markup('<svg viewBox="0 0 {} {}" class="{}" role="img" aria-label="{}"><title>{}</title>{}</svg>').format(
        at(width), at(height), css, f"{name}. {description}", name, body
    )
