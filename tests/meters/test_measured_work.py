"""Figures of repeated windows; measured and modelled joules never share a field."""

import json
import sys
from dataclasses import replace

import pytest

from intaglio.cli import main
from intaglio.meters import machine_meters, repeated_windows
from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.measured_work import MeasuredWork
from intaglio.meters.meter import MeterFailed, MeterReading
from intaglio.meters.replay import NoMeter, Replay
from intaglio.meters.spent import Spent

GPU = Domain("gpu:0", Scope.GPU_BOARD, Provenance.COUNTER, "replay")
MODEL = Domain("model", Scope.PROCESS, Provenance.MODELLED, "rates")


def window(gpu, model, **changed):
    return Spent(2.0, {"gpu:0": gpu, "model": model}, {"gpu:0": replace(GPU, **changed), "model": MODEL})


def test_measured_and_modelled_never_share_a_field():
    figures = MeasuredWork((window(3.0, 50.0), window(5.0, 70.0))).figures()
    assert (figures["joules"], figures["joules_sd"]) == (4.0, pytest.approx(2**0.5))
    assert figures["joules_of"] == {"gpu:0": 4.0}
    assert figures["joules_by"] == {"gpu:0": "measured-counter"}
    assert figures["joules_modelled"] == 60.0
    assert figures["cpu_seconds"] is figures["joules_vendor_estimate"] is None


def test_a_vendor_s_estimate_is_no_measurement():
    figures = MeasuredWork((window(3.0, 50.0, provenance=Provenance.VENDOR_ESTIMATE),), "no counter").figures()
    assert figures["joules"] is None
    assert figures["joules_why"] == "no counter"
    assert figures["joules_vendor_estimate"] == 3.0


def test_shared_work_is_null_with_the_reason():
    figures = MeasuredWork((window(3.0, 50.0, shared=True),)).figures()
    assert figures["joules"] is None
    assert "gpu:0 was shared" in figures["joules_why"]


def measured(capsys, *words):
    code = main(["energy", "measure", "--json", *words])
    out = capsys.readouterr().out.strip().splitlines()
    return code, json.loads(out[-1])


def test_a_command_is_measured_with_its_own_flags_and_exit_code(capfd):
    python = [sys.executable, "-c", "import sys, time; time.sleep(0.1); sys.exit(len(sys.argv))"]
    code, figures = measured(
        capfd, "--watts-per-cpu-second", "10", "--repeat", "3", "--", *python, "--quiet", "--debug"
    )
    assert code == figures["exit_code"] == 3
    assert figures["command"] == [*python, "--quiet", "--debug"]
    assert figures["windows"] == 1, "a command that fails is not run again"
    assert figures["seconds"] >= 0.1
    assert figures["joules_modelled"] == pytest.approx(10 * figures["cpu_seconds"], rel=0.05)


def test_a_counter_that_is_too_coarse_or_fails_costs_no_other_figure(capfd, monkeypatch):
    for second, why in (
        (MeterReading(0.5, {"gpu:0": 1.0}), "resolves no less than 1 s"),
        (MeterFailed("gone"), "gone"),
    ):
        meter = Replay([MeterReading(0.0, {"gpu:0": 0.0}), second], {"gpu:0": GPU}, tick_s=0.1)
        monkeypatch.setattr(machine_meters, "_candidates", lambda device, meter=meter: [[meter]])
        code, figures = measured(capfd, "--", sys.executable, "-c", "pass")
        assert code == 0
        assert figures["joules"] is None
        assert why in figures["joules_why"]
        assert figures["cpu_seconds"] > 0


def test_a_counter_that_fails_later_costs_no_other_figure_of_any_window(capfd, monkeypatch):
    readings = [MeterReading(0.0, {"gpu:0": 0.0}), MeterReading(5.0, {"gpu:0": 1.0}), MeterFailed("gone")]
    monkeypatch.setattr(machine_meters, "_candidates", lambda device: [[Replay(readings, {"gpu:0": GPU})]])
    _, figures = measured(capfd, "--repeat", "3", "--", sys.executable, "-c", "pass")
    assert (figures["windows"], figures["joules"], figures["joules_of"]) == (3, None, {})
    assert figures["joules_why"] == "gone"


def planted_wall(monkeypatch, path, moments, watts=200.0):
    """A trace of 200 W from 0 to 99 s, and the machine's clock at the moments of the windows."""
    path.write_text("time,watts\n" + "".join(f"{k},{watts}\n" for k in range(100)))
    clock = iter(moments)
    monkeypatch.setattr(repeated_windows, "moment_now", lambda: next(clock))
    counts = iter(range(0, 900, 30))
    meter = Replay([MeterReading(5.0 * k, {"gpu:0": float(next(counts))}) for k in range(9)], {"gpu:0": GPU})
    monkeypatch.setattr(machine_meters, "_candidates", lambda device: [[meter], [NoMeter("no counter", "rapl")]])


def test_the_wall_contains_the_joules_of_the_counters(capfd, monkeypatch, tmp_path):
    planted_wall(monkeypatch, tmp_path / "wall.csv", (10.0, 30.0, 40.0, 80.0))
    words = ["--repeat", "2", "--watts-per-cpu-second", "9", "--trace", str(tmp_path / "wall.csv")]
    code, figures = measured(capfd, *words, "--", sys.executable, "-c", "pass")
    assert code == 0
    assert figures["joules"] == pytest.approx(200 * (20 + 40) / 2)
    assert figures["joules_of"] == {"gpu:0": 30.0, "wall": pytest.approx(6000.0)}
    assert figures["joules_by"]["wall"] == "measured-external"
    assert figures["joules_why"] is None
    assert 0 < figures["joules_modelled"] < 100


def test_the_clock_of_a_trace_may_be_off(capfd, monkeypatch, tmp_path):
    planted_wall(monkeypatch, tmp_path / "wall.csv", (1010.0, 1030.0))
    words = ["--trace", str(tmp_path / "wall.csv"), "--trace-offset", "1000", "--trace-unit", "kW"]
    assert measured(capfd, *words, "--", sys.executable, "-c", "pass")[1]["joules"] == pytest.approx(4e6)


def test_a_trace_that_does_not_tell_costs_no_other_figure(capfd, monkeypatch, tmp_path):
    planted_wall(monkeypatch, tmp_path / "wall.csv", (-10.0, 30.0))
    _, figures = measured(capfd, "--trace", str(tmp_path / "wall.csv"), "--", sys.executable, "-c", "pass")
    assert figures["joules"] == 30.0
    assert "rapl: no counter; wall: " in figures["joules_why"]
    assert "begins 10 s after the window" in figures["joules_why"]


def test_a_bad_trace_is_refused_before_the_command_runs(capfd, tmp_path):
    ran = tmp_path / "ran"
    command = ["--", sys.executable, "-c", f"open({str(ran)!r}, 'w')"]
    (tmp_path / "bad.csv").write_text("time,amperes\n1,2\n")
    for trace, says in (("none.csv", "none.csv does not exist"), ("bad.csv", "no column watts or joules")):
        assert main(["energy", "measure", "--trace", str(tmp_path / trace), *command]) == 2
        assert says in capfd.readouterr().err
    assert main(["energy", "measure", "--trace-offset", "3", *command]) == 2
    assert "trace_offset is about a trace" in capfd.readouterr().err
    assert main(["energy", "measure", "--trace", str(tmp_path / "bad.csv"), "--trace-zone", "Atlantis", *command]) == 2
    assert "time zone" in capfd.readouterr().err
    assert not ran.exists()


def test_no_command_and_an_unknown_one_are_refused(capfd):
    assert main(["energy", "measure"]) == 2
    assert main(["energy", "measure", "--", "/no/such/program"]) == 2
    assert "two dashes" in (said := capfd.readouterr().err)
    assert "/no/such/program cannot be run" in said
