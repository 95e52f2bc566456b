"""The integral of polled watts: closed forms, gaps, faults, forks; with a clock that the tests set."""

import os
import threading
import time
from dataclasses import dataclass, field

import pytest

from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.meter import Availability, MeterFailed
from intaglio.meters.monitor import EnergyMonitor
from intaglio.meters.polled_power import PolledPower

RAIL = Domain("rail", Scope.CHIP, Provenance.SAMPLED, "planted")


@dataclass
class Planted:
    """A source of watts, its moment, and the power of its rail as a function of it."""

    power: object
    now: float = 0.0
    faults: list = field(default_factory=list)

    def watts(self):
        if self.faults:
            raise self.faults.pop(0)
        return {"rail": float(self.power(self.now))}

    def meter(self, every_s=0.1, **further):
        return PolledPower("planted", self.watts, every_s, clock=lambda: self.now, threaded=False, **further)


class AsMeter:
    """A polled source as a whole meter, for windows."""

    name, slow, devices, tick_s = "planted", False, (), None

    def __init__(self, polled):
        self.polled = polled
        self.read, self.close = polled.read, polled.close

    def domains(self):
        return {"rail": RAIL}

    def available(self):
        return Availability("ok")


class HeldForEver:
    """A lock that cannot be had."""

    def __enter__(self):
        raise AssertionError("waits for ever")

    def __exit__(self, *_):
        pass


def sampled(source, meter, until, every_s):
    while source.now < until - 1e-9:
        source.now += every_s
        reading = meter.read()
    return reading


def test_a_power_linear_in_time_is_integrated_exactly_at_any_spacing():
    for every_s in (0.01, 0.25, 0.5):
        source = Planted(lambda t: 5 + 3 * t)
        meter = source.meter()
        assert meter.read().amounts == {"rail": 0.0}
        last = sampled(source, meter, 4.0, every_s)
        assert last.amounts["rail"] == pytest.approx(5 * 4 + 3 * 4**2 / 2, rel=1e-12)
        assert last.time_s == pytest.approx(4.0)


def test_the_error_at_a_parabola_is_that_of_the_trapezoid_rule():
    source, step, end = Planted(lambda t: t**2), 0.1, 2.0
    meter = source.meter()
    meter.read()
    found = sampled(source, meter, end, step).amounts["rail"]
    assert found == pytest.approx(end**3 / 3 + end * step**2 / 6, rel=1e-12)


def test_the_ends_of_a_window_are_samples():
    source = Planted(lambda t: 10.0 if t < 1.0 else 20.0)
    with EnergyMonitor([AsMeter(source.meter())]) as monitor:
        monitor.begin_window("x")
        source.now = 0.9
        assert monitor.so_far("x").total() == pytest.approx(9.0)
        source.now = 1.0
        assert monitor.end_window("x").total() == pytest.approx(9.0 + 0.1 * 15.0)


@pytest.mark.parametrize(("every_s", "longest"), [(0.05, 1.0), (0.1, 1.0), (0.5, 5.0)])
def test_a_gap_fails_its_window_and_no_other(every_s, longest):
    source = Planted(lambda _: 100.0)
    with EnergyMonitor([AsMeter(source.meter(every_s))]) as monitor:
        monitor.begin_window("whole")
        source.now += longest
        assert monitor.so_far("whole").total() == pytest.approx(100.0 * longest)
        monitor.begin_window("gap")
        source.now += longest + 0.01
        with pytest.raises(MeterFailed, match=rf"window 'gap' has a gap: planted gave no sample for {longest:.2g}"):
            monitor.end_window("gap")
        monitor.begin_window("after")
        source.now += longest
        assert monitor.end_window("after").total() == pytest.approx(100.0 * longest)
        with pytest.raises(MeterFailed, match="window 'whole' has a gap"):
            monitor.end_window("whole")


def test_joules_of_a_gap_are_never_bridged():
    source = Planted(lambda _: 100.0)
    meter = source.meter()
    meter.read()
    source.now = 30.0
    reading = meter.read()
    assert (reading.amounts["rail"], reading.breaks) == (0.0, 1)


def test_a_failed_sample_is_no_zero():
    source = Planted(lambda _: 100.0, faults=[])
    meter = source.meter()
    meter.read()
    source.now, source.faults = 0.5, [MeterFailed("the sensor is gone")]
    with pytest.raises(MeterFailed, match="the sensor is gone"):
        meter.read()
    assert meter.read().amounts["rail"] == pytest.approx(50.0)


def test_a_rail_that_vanishes_fails():
    rails = {"rail": 1.0, "other": 2.0}
    meter = PolledPower("planted", lambda: dict(rails), 0.1, threaded=False)
    meter.read()
    del rails["other"]
    with pytest.raises(MeterFailed, match="began or ceased to speak of other"):
        meter.read()


def test_a_thread_samples_between_readings_from_the_first_reading_on_and_ends_with_close():
    seen, enough = [], threading.Event()

    def watts():
        seen.append(threading.current_thread())
        if len(seen) >= 4:
            enough.set()
        return {"rail": 7.0}

    before = threading.active_count()
    # A clock slower than the machine's, so that no stall of the machine is a gap.
    meter = PolledPower("planted", watts, 0.002, clock=lambda: time.monotonic() / 1000)
    assert threading.active_count() == before
    first = meter.read()
    assert enough.wait(10.0)
    last = meter.read()
    (thread,) = {one for one in seen if one is not threading.current_thread()}
    assert thread.daemon
    assert last.amounts["rail"] == pytest.approx(7.0 * (last.time_s - first.time_s), rel=1e-9)
    meter.close()
    assert not thread.is_alive()
    assert meter.read().amounts == {"rail": 0.0}
    meter.close()


def test_a_fault_in_the_thread_leaves_a_gap_that_names_it():
    source = Planted(lambda _: 1.0)
    meter = PolledPower("planted", source.watts, 0.001, clock=lambda: source.now)
    meter.read()
    source.faults = [MeterFailed("the bus hangs")] * 100_000
    end = time.monotonic() + 10
    while not meter._fault and time.monotonic() < end:
        time.sleep(0.001)
    meter._stop.set()
    meter._thread.join()
    source.now, source.faults = 60.0, []
    assert "no sample for 60 s (the bus hangs)" in meter.read().why_broken
    meter.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_after_a_fork_it_says_so_and_begins_again_when_closed(monkeypatch):
    source = Planted(lambda _: 1.0)
    meter = source.meter()
    meter.read()
    # The parent's thread may have held the lock at the fork, and it is never released in the child.
    meter._lock = HeldForEver()
    parent = os.getpid()
    monkeypatch.setattr("intaglio.meters.polled_power.os.getpid", lambda: parent + 1)
    with pytest.raises(MeterFailed, match="before this process was forked; close it here, and read again"):
        meter.read()
    meter.close()
    assert meter.read().amounts == {"rail": 0.0}


@pytest.mark.parametrize("every_s", [0.0, -1.0, float("inf"), float("nan")])
def test_no_interval_is_refused(every_s):
    with pytest.raises(ValueError, match="every_s must be a time above 0 s"):
        PolledPower("planted", dict, every_s)
