"""Traces of an external meter: closed forms of their integral, clocks, units, and what is refused."""

from datetime import UTC, datetime

import numpy as np
import pytest

from intaglio.errors import BadInput
from intaglio.meters import csv_trace
from intaglio.meters.csv_trace import CSVTrace
from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.meter import MeterFailed, WindowTooShort
from intaglio.meters.power_trace import WALL, PowerTrace, TraceBehind
from intaglio.meters.spent import Spent
from intaglio.meters.trace_alignment import offset_by_bursts

START = 1_700_000_000.0


def written(tmp_path, text, **options):
    path = tmp_path / "wall.csv"
    path.write_text(text)
    return CSVTrace(path, **options)


def table(rows, header="time,watts"):
    return "\n".join([header, *(f"{time!r},{value!r}" for time, value in rows), ""])


def linear(count=101, every_s=1.0, start=START):
    """Rows of a power that rises by 2 W a second from 100 W."""
    return [(start + k * every_s, 100.0 + 2.0 * k * every_s) for k in range(count)]


@pytest.mark.parametrize(("begin", "end"), [(0.0, 100.0), (10.25, 55.5), (3.0, 13.0)])
def test_a_power_linear_in_time_is_integrated_exactly_from_any_moment(tmp_path, begin, end):
    spent = written(tmp_path, table(linear())).read().spent(START + begin, START + end)
    assert spent.total() == pytest.approx(100 * (end - begin) + end**2 - begin**2, rel=1e-9)
    assert spent.seconds == pytest.approx(end - begin)
    assert spent.domains["wall"].provenance is Provenance.EXTERNAL
    assert spent.domains["wall"].scope is Scope.WALL


def test_joules_that_count_on_are_subtracted(tmp_path):
    rows = [(START + k, 5000.0 + 3.0 * k) for k in range(50)]
    trace = written(tmp_path, table(rows, "time,joules")).read()
    assert trace.spent(START + 10.5, START + 30.5).total() == pytest.approx(60.0)
    rows[25] = (START + 25, 0.0)
    trace = written(tmp_path, table(rows, "time,joules")).read()
    with pytest.raises(MeterFailed, match="fall within the window"):
        trace.spent(START + 10, START + 30)


@pytest.mark.parametrize(("unit", "joules"), [("mW", 1e-3 * 20), ("W", 20.0), ("kW", 2e4)])
def test_units_of_power(tmp_path, unit, joules):
    trace = written(tmp_path, table([(START + k, 1.0) for k in range(30)]), unit=unit).read()
    assert trace.spent(START + 5, START + 25).total() == pytest.approx(joules)


@pytest.mark.parametrize(("unit", "joules"), [("mJ", 0.02), ("J", 20.0), ("kJ", 2e4), ("Wh", 72e3), ("kWh", 72e6)])
def test_units_of_energy(tmp_path, unit, joules):
    rows = table([(START + k, 1.0 * k) for k in range(30)], "time,meter")
    trace = written(tmp_path, rows, unit=unit, value_column="meter").read()
    assert trace.spent(START + 5, START + 25).total() == pytest.approx(joules)


def test_times_in_other_units_and_zones_are_one_moment(tmp_path):
    assert written(tmp_path, table([(1.5e12, 1.0)]), time_unit="ms").read().times_s[0] == 1.5e9
    summer = datetime(2026, 7, 1, 12, 0, tzinfo=UTC).timestamp()
    for cell, zone in (
        ("2026-07-01T12:00:00Z", ""),
        ("2026-07-01T14:00:00+02:00", ""),
        ("2026-07-01 14:00:00", "Europe/Berlin"),
        ("2026-07-01 14:00:00", "+02:00"),
        ("2026-07-01 12:00:00.000", "UTC"),
    ):
        assert written(tmp_path, f"time,watts\n{cell},5\n", zone=zone).read().times_s.tolist() == [summer]


def test_the_offset_is_added_to_the_trace(tmp_path):
    trace = written(tmp_path, table(linear()), offset_s=-30.0).read()
    assert trace.spent(START + 0, START + 20).total() == pytest.approx(100 * 20 + 50**2 - 30**2)


def test_other_delimiters_columns_and_blank_lines(tmp_path):
    text = "﻿note;when; power \n\nfirst; 10.5;7\n;11.5;8\n\n"
    trace = written(tmp_path, text, time_column="when", value_column="power", unit="W").read()
    assert (trace.times_s.tolist(), trace.values.tolist()) == ([10.5, 11.5], [7.0, 8.0])


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    trace = written(tmp_path, "time,watts\n1,250\n2,250\n3,25").read()
    assert trace.times_s.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no line yet"),
        ("1,2\n3,4\n", "no column time"),
        ("time,amperes\n1,2\n", "no column watts or joules, only time, amperes"),
        ("time,watts,joules\n1,2,3\n", "both watts and joules"),
        ("time,watts\n1,2\n1,3\n", "line 3 of .* repeats the time"),
        ("time,watts\n2,2\n1,3\n", "line 3 of .* is earlier than the row before"),
        ("time,watts\n1\n", "fewer than the header"),
        ("time,watts\n1,-3\n", "'-3' in line 2 .* at least 0"),
        ("time,watts\n1,nan\n", "at least 0"),
        ("time,watts\n1,many\n", "'many'"),
        ("time,watts\nnan,1\n", "the time nan in line 2"),
        ("time,watts\n1," + "9" * 200_000 + "\n", "no readable CSV"),
        ("time,watts\n9999-12-31T23:59:59-23:00,1\n0001-01-01T00:00:00+23:00,1\n", "beyond the calendar|earlier"),
        ("time,watts\n1,2\r\n\0,3\n", "neither a number nor ISO"),
        ("time,watts\nnoon,1\n", "neither a number nor ISO 8601"),
        ("time,watts\n2026-07-01 12:00:00,1\n", "has no time zone"),
    ],
)
def test_a_bad_table_is_one_sentence_that_names_the_line(tmp_path, text, says):
    with pytest.raises(BadInput, match=says):
        written(tmp_path, text).read()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"zone": "Atlantis/Main"}, "zone must be"),
        ({"zone": "+2 hours"}, "zone must be"),
        ({"offset_s": float("nan")}, "offset_s must be"),
        ({"value_column": "power"}, "unit of the column power must be stated"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, says):
    with pytest.raises(ValueError, match=says):
        CSVTrace(tmp_path, **options)


def test_a_gap_fails_the_windows_that_hold_it_and_no_other(tmp_path):
    rows = [row for row in linear() if not 50 < row[0] - START < 56]
    trace = written(tmp_path, table(rows)).read()
    with pytest.raises(MeterFailed, match="gap of 6 s within the window"):
        trace.spent(START + 40, START + 52)
    for begin, end in ((30, 52), (53, 70)):
        with pytest.raises(MeterFailed, match="gap of 6 s"):
            trace.spent(START + begin, START + end)
    assert trace.spent(START + 30, START + 50).total() == pytest.approx(100 * 20 + 50**2 - 30**2)
    assert trace.spent(START + 56, START + 76).total() == pytest.approx(100 * 20 + 76**2 - 56**2)
    just = [row for row in linear() if not 50 < row[0] - START < 55]
    assert written(tmp_path, table(just)).read().spent(START + 40, START + 60).seconds == 20


def test_a_window_that_the_trace_does_not_cover_is_never_a_figure(tmp_path):
    trace = written(tmp_path, table(linear())).read()
    with pytest.raises(MeterFailed, match="begins 5 s after the window"):
        trace.spent(START - 5, START + 50)
    with pytest.raises(TraceBehind, match="ends 3 s before the window"):
        trace.spent(START + 50, START + 103)
    with pytest.raises(WindowTooShort, match="resolves no less than 10 s"):
        trace.spent(START + 50, START + 59.9)
    with pytest.raises(TraceBehind, match="has 2 rows"):
        written(tmp_path, table(linear(2))).read().spent(START, START + 1)


def test_a_logger_is_waited_for_and_not_for_ever(tmp_path):
    trace, slept = written(tmp_path, table(linear(30))), []

    def log_on(seconds):
        slept.append(seconds)
        trace.path.write_text(table(linear(30 + 10 * len(slept))))

    assert trace.spent_once_written(START, START + 45, log_on).total() == pytest.approx(100 * 45 + 45**2)
    assert len(slept) == 2
    slept.clear()
    with pytest.raises(TraceBehind):
        trace.spent_once_written(START, START + 9e9, slept.append)
    assert sum(slept) == csv_trace.PATIENCE_S


def test_the_wall_contains_what_was_measured_and_not_what_was_modelled():
    gpu = Domain("gpu:0", Scope.GPU_BOARD, Provenance.COUNTER, "nvml")
    model = Domain("model", Scope.PROCESS, Provenance.MODELLED, "rates")
    inner = Spent(5.0, {"gpu:0": 30.0, "model": 8.0}, {"gpu:0": gpu, "model": model})
    both = inner.within(Spent(5.1, {"wall": 100.0}, {"wall": WALL}))
    assert both.measured().total() == 100.0
    assert both["gpu:0"] == 30.0
    assert both.totals() == {"measured": 100.0, "modelled": 8.0}


BURSTS = ((20.0, 25.0), (30.0, 35.0), (43.0, 48.0))


def bursts_trace(offset, every_s=0.5, gaps=(), noise=3.0, seed=0, length=75.0, phase=0.0):
    """A trace whose clock is `offset` s behind: idle 60 W, 180 W while a burst lasts, noise, rows missing in gaps."""
    noise_of = np.random.default_rng(seed)
    machine = np.arange(phase * every_s, length, every_s)
    on = np.array([any(begin <= time < end for begin, end in BURSTS) for time in machine])
    kept = np.array([not any(begin <= time < end for begin, end in gaps) for time in machine])
    watts = 60.0 + 120.0 * on + noise * noise_of.standard_normal(len(machine))
    return PowerTrace("planted", (machine - offset)[kept], watts[kept], True)


@pytest.mark.parametrize("offset", [0.0, 7.3, -12.85, 19.6])
@pytest.mark.parametrize("gaps", [(), ((22.0, 24.5), (36.0, 41.0)), ((30.0, 35.0),)])
def test_a_planted_offset_is_found_also_with_gaps(offset, gaps):
    assert offset_by_bursts(bursts_trace(offset, gaps=gaps), BURSTS, 30.0) == pytest.approx(offset, abs=0.5)


def test_an_offset_is_found_within_half_a_row_and_a_step_where_watts_are_exact():
    for every_s in (0.2, 1.0):
        planted = [(d, phase) for d in (3.0, -4.4) for phase in (0.05, 0.5, 0.95)]
        errors = [
            offset_by_bursts(bursts_trace(d, every_s, noise=0.0, phase=phase), BURSTS, 20.0) - d for d, phase in planted
        ]
        assert max(map(abs, errors)) <= (0.5 + 0.1) * every_s


def test_a_trace_without_the_bursts_gives_no_offset():
    idle = PowerTrace("idle", np.arange(0.0, 90.0, 0.5), np.random.default_rng(1).normal(60, 3, 180), True)
    with pytest.raises(MeterFailed, match="does not show the bursts"):
        offset_by_bursts(idle, BURSTS, 20.0)
    with pytest.raises(MeterFailed, match="does not show the bursts"):
        offset_by_bursts(bursts_trace(0.0, length=40.0), BURSTS, 2.0)


def test_bursts_out_of_order_and_joules_are_refused():
    with pytest.raises(ValueError, match="must be in order"):
        offset_by_bursts(bursts_trace(0.0), BURSTS[::-1])
    joules = PowerTrace("planted", np.arange(9.0), np.arange(9.0), False)
    with pytest.raises(ValueError, match="wants watts"):
        offset_by_bursts(joules, BURSTS)
