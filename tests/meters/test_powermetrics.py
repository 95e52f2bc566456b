"""Apple's estimates from planted property lists; the program is never started here."""

import plistlib
import sys

import pytest

from intaglio.meters import powermetrics
from intaglio.meters.domain import Provenance
from intaglio.meters.measured_work import MeasuredWork
from intaglio.meters.meter import MeterFailed
from intaglio.meters.monitor import EnergyMonitor
from intaglio.meters.powermetrics import PowerMetrics, run_program, watts_of

POWERS = {
    "elapsed_ns": 501_000_000,
    "processor": {"cpu_power": 4210.5, "gpu_power": 900, "ane_power": 0, "clusters": []},
}
ENERGIES = {"elapsed_ns": 500_000_000, "processor": {"cpu_energy": 2000, "gpu_energy": 250, "ane_energy": 0}}


def planted(table=POWERS):
    return plistlib.dumps(table)


@pytest.fixture
def on_macos(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(powermetrics.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(powermetrics.os, "geteuid", lambda: 0)


@pytest.mark.parametrize("output", [planted(), planted() + b"\0", planted() + b"\n", b"\0" + planted()])
def test_milliwatts_are_watts(output):
    assert watts_of(output) == {"apple:cpu": pytest.approx(4.2105), "apple:gpu": pytest.approx(0.9), "apple:ane": 0.0}


def test_energies_over_the_interval_are_watts():
    assert watts_of(planted(ENERGIES)) == {"apple:cpu": 4.0, "apple:gpu": 0.5, "apple:ane": 0.0}


def test_graphics_may_stand_in_a_table_of_its_own():
    table = {"processor": {"cpu_power": 1000, "ane_power": 0}, "gpu": {"gpu_power": 250}}
    assert watts_of(planted(table))["apple:gpu"] == 0.25


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (b"", "gave no property list"),
        (b"powermetrics must be invoked as the superuser", "gave no property list"),
        (planted()[:200], "gave no property list"),
        (planted([1, 2]), "no table"),
        (planted({"processor": {"cpu_power": 1}}), "told no power of gpu"),
        (planted({**ENERGIES, "elapsed_ns": 0}), "told no power of cpu"),
        (planted({"processor": {**POWERS["processor"], "cpu_power": -1}}), "told no power of cpu"),
        (planted({"processor": {**POWERS["processor"], "cpu_power": float("nan")}}), "told no power of cpu"),
        (planted({"processor": {**POWERS["processor"], "cpu_power": "many"}}), "told no power of cpu"),
    ],
)
def test_what_tells_no_power_is_an_error_and_never_nought(output, says):
    with pytest.raises(MeterFailed, match=says):
        watts_of(output)


def test_the_program_is_started_by_readings_only_with_the_words_it_knows(on_macos):
    called = []

    def run(words, timeout_s):
        called.append((list(words), timeout_s))
        return planted()

    meter = PowerMetrics(run=run, interval_s=0.25)
    assert meter.available()
    assert {domain.provenance for domain in meter.domains().values()} == {Provenance.VENDOR_ESTIMATE}
    assert called == []
    meter._polled.threaded = False
    meter.read()
    ((words, timeout_s),) = called
    samplers = "cpu_power,gpu_power,ane_power"
    assert words == ["powermetrics", "-n", "1", "-i", "250", "--samplers", samplers, "-f", "plist"]
    assert timeout_s > 0.25


def test_estimates_are_integrated_and_are_no_measurement(on_macos, monkeypatch):
    monkeypatch.setattr("intaglio.meters.monitor.synchronise", lambda device: None)
    meter, moment = PowerMetrics(run=lambda *_: planted(ENERGIES)), [0.0]
    meter._polled.threaded, meter._polled.clock = False, lambda: moment[0]
    with EnergyMonitor([meter], least_ticks=0.0) as monitor, monitor.window("x") as window:
        moment[0] = 2.0
    figures = MeasuredWork((window.spent,)).figures()
    assert figures["joules"] is None
    assert figures["joules_vendor_estimate"] == pytest.approx(2 * 4.5)


def test_availability_asks_for_root_and_for_macos(on_macos, monkeypatch):
    monkeypatch.setattr(powermetrics.os, "geteuid", lambda: 501)
    found = PowerMetrics().available()
    assert (found.state, "sudo" in found.why) == ("no-permission", True)
    monkeypatch.setattr(sys, "platform", "linux")
    assert PowerMetrics().available().state == "unsupported"
    with pytest.raises(MeterFailed, match="which macOS has"):
        PowerMetrics().domains()


def test_a_program_that_fails_says_why():
    with pytest.raises(MeterFailed, match="exit code 3: no such sampler"):
        run_program([sys.executable, "-c", "import sys; sys.stderr.write('no such sampler'); sys.exit(3)"], 10.0)
    with pytest.raises(MeterFailed, match="no-such-program cannot be run"):
        run_program(["no-such-program"], 10.0)
    with pytest.raises(MeterFailed, match="gave nothing within 0.05 s"):
        run_program([sys.executable, "-c", "import time; time.sleep(9)"], 0.05)


def test_an_interval_that_the_program_should_not_have_is_refused():
    with pytest.raises(ValueError, match=r"interval_s must be in \[0.2, 1\]"):
        PowerMetrics(interval_s=5.0)
