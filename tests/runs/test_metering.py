"""The energy fields of `run.json`, against planted meters."""

import json
from dataclasses import replace

import pytest

from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.machine_meters import FoundMeters
from intaglio.meters.meter import Availability, MeterFailed, MeterReading
from intaglio.meters.replay import Replay
from intaglio.runs import metering
from intaglio.runs.metering import RunEnergy
from intaglio.runs.run import Run

GPU = Domain("gpu:0", Scope.GPU_BOARD, Provenance.COUNTER, "replay")
ABSENT = (("rapl", Availability("no-permission", "root only; add a rule")),)


def found(*joules, absent=ABSENT):
    readings = [
        one if isinstance(one, Exception) else MeterReading(float(k), {"gpu:0": float(one)})
        for k, one in enumerate(joules)
    ]
    return FoundMeters((Replay(readings, {"gpu:0": GPU}),), absent)


def test_joules_are_those_since_the_opening_and_of_earlier_parts():
    energy = RunEnergy("cuda:0", {"seconds": 60.0, "joules": 5.0, "joules_of": {"gpu:0": 5.0}}, found(100, 107))
    fields = energy.fields()
    assert fields["joules"] == 12.0
    assert fields["joules_of"] == {"gpu:0": 12.0}
    assert fields["joules_by"] == {"gpu:0": "measured-counter"}
    assert fields["joules_why"] == "rapl: root only; add a rule"
    assert fields["cpu_seconds"] is None, "the earlier part did not keep it"


def test_where_a_part_was_not_measured_there_is_no_sum():
    energy = RunEnergy("cuda:0", {"seconds": 60.0, "joules": None, "joules_why": "the reason then"}, found(100, 107))
    assert energy.fields()["joules"] is None
    assert energy.fields()["joules_why"] == "the reason then"


def test_a_vendor_s_estimates_are_no_joules_of_a_run():
    estimating = found(100, 107)
    (meter,) = estimating.meters
    meter.covered = {"gpu:0": replace(GPU, provenance=Provenance.VENDOR_ESTIMATE)}
    fields = RunEnergy("mps", {}, estimating).fields()
    assert (fields["joules"], fields["joules_of"]) == (None, {})
    assert "replay: its figures are estimates of the vendor" in fields["joules_why"]


def test_a_meter_that_fails_leaves_null_and_its_reason_never_a_figure():
    energy = RunEnergy("cuda:0", {}, found(100, 103, MeterFailed("the driver is gone")))
    assert energy.fields()["joules"] == 3.0
    for _ in range(2):
        fields = energy.fields()
        assert fields["joules"] is None
        assert "the driver is gone" in fields["joules_why"]
    assert (
        "the driver is gone" in RunEnergy("cuda:0", {}, found(MeterFailed("the driver is gone"))).fields()["joules_why"]
    )


@pytest.mark.parametrize("field", ["joules", "cpu_seconds", "seconds", "joules_of"])
@pytest.mark.parametrize("value", ["much", -1, [], float("nan")])
def test_fields_of_a_stranger_are_no_figures(field, value):
    fields = RunEnergy(
        "cpu", {"seconds": 1.0, "joules": 1.0, "cpu_seconds": 1.0} | {field: value}, found(0, 2)
    ).fields()
    written = json.dumps(fields, allow_nan=False)
    assert str(value) not in written or value == -1
    assert fields["joules"] is None or fields["joules"] >= 0


def test_a_run_keeps_its_energy_over_resumptions(tmp_path, monkeypatch):
    def opened():
        return Run.open(tmp_path, "demo", "", {}, {}, seed=0, device="cuda:0", command=["demo"], progress="none")

    monkeypatch.setattr(metering, "meters_for", lambda device: found(0, *[2] * 9))
    with opened() as run:
        pass
    monkeypatch.setattr(metering, "meters_for", lambda device: found(50, *[53] * 9))
    with opened() as run:
        run.finish({})
    about = json.loads((run.folder / "run.json").read_text())
    assert (about["joules"], about["joules_by"]) == (5.0, {"gpu:0": "measured-counter"})
    assert about["cpu_seconds"] >= 0
    monkeypatch.setattr(metering, "meters_for", lambda device: found(MeterFailed("a finished run reads no meter")))
    assert opened().status == "done"
    assert json.loads((run.folder / "run.json").read_text()) == about
