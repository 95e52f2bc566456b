"""Figures of repeated windows; measured and modelled joules never share a field."""

import json
import sys
from dataclasses import replace

import pytest

from intaglio.cli import main
from intaglio.meters import found
from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.measured_work import MeasuredWork
from intaglio.meters.meter import MeterFailed, Reading
from intaglio.meters.replay import Replay
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
    for second, why in ((Reading(0.5, {"gpu:0": 1.0}), "resolves no less than 1 s"), (MeterFailed("gone"), "gone")):
        meter = Replay([Reading(0.0, {"gpu:0": 0.0}), second], {"gpu:0": GPU}, tick_s=0.1)
        monkeypatch.setattr(found, "_candidates", lambda device, meter=meter: [[meter]])
        code, figures = measured(capfd, "--", sys.executable, "-c", "pass")
        assert code == 0
        assert figures["joules"] is None
        assert why in figures["joules_why"]
        assert figures["cpu_seconds"] > 0


def test_no_command_and_an_unknown_one_are_refused(capfd):
    assert main(["energy", "measure"]) == 2
    assert main(["energy", "measure", "--", "/no/such/program"]) == 2
    assert "two dashes" in (said := capfd.readouterr().err)
    assert "/no/such/program cannot be run" in said
