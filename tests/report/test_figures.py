import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intaglio.report.kit.axes import Scale, log_ticks, nice_ticks, number, padded
from intaglio.report.kit.charts import (
    DOT_RADIUS,
    Dot,
    Strip,
    curve_plot,
    p_value_plot,
    place_in_nulls,
    roc_plot,
    smoothed,
    spread,
    stairs,
    strip_plot,
    thinned,
    watch_plot,
)

numbers = st.floats(-1e6, 1e6, allow_nan=False)


def svg_of(figure) -> ElementTree.Element:
    return ElementTree.fromstring(str(figure))


def elements_of_class(figure, css: str) -> list[ElementTree.Element]:
    return [e for e in svg_of(figure).iter() if e.get("class") == f"dot {css}"]


@given(numbers, st.floats(1e-3, 1e6))
def test_ticks_are_round_and_inside(low, width):
    high = low + width
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 11
    assert all(low - 1e-6 * width <= t <= high + 1e-6 * width for t in ticks)
    assert ticks == sorted(ticks)


def test_ticks_known_cases():
    assert nice_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert nice_ticks(0.34, 0.87) == [0.4, 0.5, 0.6, 0.7, 0.8]
    assert log_ticks(1e-4, 1) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert log_ticks(0.05, 1) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1])


def test_scale_maps_ends_and_middle():
    linear, log = Scale(0, 10, 50, 250), Scale(0.01, 1, 0, 100, log=True)
    assert [linear(v) for v in (0, 5, 10)] == [50, 150, 250]
    assert log(0.1) == pytest.approx(50)
    assert linear(99) == 250
    assert log(0) == 0


@pytest.mark.parametrize(("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 1, True)])
def test_impossible_scales_are_refused(low, high, log):
    with pytest.raises(ValueError, match=r"a log scale|a scale"):
        Scale(low, high, 0, 1, log)


def test_padding_of_nothing_and_of_one_value():
    assert padded([]) == (0, 1)
    assert padded([math.nan]) == (0, 1)
    low, high = padded([3.0, 3.0])
    assert low < 3 < high


@pytest.mark.parametrize(
    ("value", "words"), [(0, "0"), (0.05, "0.05"), (1e-5, "1e−5"), (300, "300"), (-2.5, "−2.5"), (2.5e7, "2.5e7")]
)
def test_numbers_are_short(value, words):
    assert number(value) == words


@given(st.lists(st.floats(0, 300), max_size=60))
def test_spread_keeps_dots_of_a_row_apart(positions):
    gap = 2 * DOT_RADIUS + 0.5
    rows = spread(positions, gap, 40)
    assert len(rows) == len(positions)
    for row in set(rows):
        taken = sorted(p for p, r in zip(positions, rows, strict=True) if r == row)
        assert all(b - a >= gap for a, b in pairwise(taken))


def test_strip_plot_draws_each_picture_once_and_the_threshold():
    strips = [
        Strip("questioned", [Dot(0.9, "a<b", "in"), Dot(0.2, "b", "out")]),
        Strip("controls", [Dot(0.3, f"c{k}", "ctl") for k in range(5)]),
    ]
    figure = strip_plot(strips, [0.5], "score")
    assert [len(elements_of_class(figure, css)) for css in ("in", "out", "ctl")] == [1, 1, 5]
    cut = [e for e in svg_of(figure).iter() if e.get("class") == "cut"]
    left, right = elements_of_class(figure, "out")[0], elements_of_class(figure, "in")[0]
    assert float(left.get("cx")) < float(cut[0].get("x1")) < float(right.get("x")) + DOT_RADIUS
    assert "a&lt;b: 0.9" in str(figure)


def test_strip_plot_without_threshold_or_scores():
    figure = strip_plot([Strip("questioned", [])], [], "score")
    assert not [e for e in svg_of(figure).iter() if e.get("class") == "cut"]


def test_stairs_step_along_the_horizontal_first():
    assert stairs([(0, 0), (0, 0.5), (0.5, 1), (1, 1)]) == [
        (0, 0),
        (0, 0),
        (0, 0.5),
        (0.5, 0.5),
        (0.5, 1),
        (1, 1),
        (1, 1),
    ]


def test_log_roc_shades_what_the_pictures_cannot_tell():
    curve = [(0.0, 0.0), (0.0, 0.5), (0.2, 1.0), (1.0, 1.0)]
    shade = [e for e in svg_of(roc_plot(curve, 5, log=True)).iter() if e.get("class") == "blind"]
    assert len(shade) == 1
    left = 25 + 3 * 6.3 + 3.2  # the upright label, a gap, and the widest tick: three digits and a point
    x = Scale(0.01, 1, left, 362, log=True)
    assert float(shade[0].get("width")) == pytest.approx(x(1 / 5) - left, abs=0.1)
    assert "finer than 5" in str(roc_plot(curve, 5, log=True))
    assert "blind" not in str(roc_plot(curve, 5))


def test_p_values_are_sorted_and_kept_apart_from_zero():
    figure = p_value_plot([Dot(0.5, "b", "out"), Dot(0.02, "a", "in")], 0.05, 0.02)
    first, second = elements_of_class(figure, "in")[0], elements_of_class(figure, "out")[0]
    assert float(first.get("x")) < float(second.get("cx"))
    assert float(first.get("y")) > float(second.get("cy"))
    assert svg_of(p_value_plot([], 0.05, None)) is not None


def test_place_counts_the_controls_below():
    figure = place_in_nulls(0.5, [0.1, 0.2, 0.7], [0.6], "out", (0.0, 1.0))
    assert "above 2 of 3 controls" in str(figure)


def test_smoothing_is_the_running_mean():
    values = [1.0, 3.0, 5.0, 7.0]
    assert smoothed(values, 2) == [1.0, 2.0, 4.0, 6.0]
    assert smoothed(values, 1) == values


def test_thinning_keeps_the_ends():
    points = [(float(k), 0.0) for k in range(5000)]
    kept = thinned(points, 400)
    assert len(kept) == 400
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_curves_draw_a_line_a_series_and_survive_one_point():
    figure = curve_plot({"loss": [(1, 0.5), (2, 0.4)], "prior": [(1, 0.2), (2, 0.1)]}, "step", "loss")
    assert len([e for e in svg_of(figure).iter() if (e.get("class") or "").startswith("curve")]) == 2
    assert re.search(r"<path", str(curve_plot({"loss": [(1, 0.5)]}, "step", "loss", window=5)))


def test_a_watched_curve_shades_the_stage_and_marks_the_step_that_was_kept():
    likeness, quality = [(0, 0.1), (50, 0.9), (100, -0.2)], [(0, 1.0), (50, 0.9), (100, 0.3)]
    figure = watch_plot(likeness, quality, [(50, 100)], 50)
    x = Scale(0, 100, 25 + 3 * 6.3 + 3.2, 362)  # a tick of a sign, two digits and a point
    (shade,) = [e for e in svg_of(figure).iter() if e.get("class") == "blind"]
    assert float(shade.get("x")) == pytest.approx(x(50), abs=0.1)
    assert float(shade.get("width")) == pytest.approx(x(100) - x(50), abs=0.1)
    (kept,) = [e for e in svg_of(figure).iter() if e.get("class") == "cut"]
    assert float(kept.get("x1")) == pytest.approx(x(50), abs=0.1)
    heights = [float(mark.get("y")) for mark in elements_of_class(figure, "in")]
    assert heights[1] < heights[0] < heights[2]
    assert "corruption from 50 to 100" in str(figure)
    calm = watch_plot(likeness[:1], quality[:1], [], None)
    assert "no corruption" in str(calm)
    assert not [e for e in svg_of(calm).iter() if e.get("class") in ("cut", "blind")]


def test_wide_numbers_of_an_axis_stand_beside_its_label():
    figure = svg_of(curve_plot({"loss": [(1, 0.00142), (2, 0.00144)]}, "step", "loss"))
    labels = [e for e in figure.iter() if e.get("text-anchor") == "end" and float(e.get("x")) < 100]
    assert any(len(e.text) == 7 for e in labels), "0.00142"
    upright = 11 + 11 / 2  # its middle, and half a line of 11 units
    for label in labels:
        assert float(label.get("x")) - 6 * len(label.text) >= upright - 3
