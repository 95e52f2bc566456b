"""`intaglio energy doctor` over planted meters, and over this machine."""

import json

import pytest

from intaglio.cli import main
from intaglio.commands import doctor
from intaglio.meters import machine_meters, survey
from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.meter import Availability, MeterFailed, MeterReading
from intaglio.meters.replay import NoMeter, Replay
from intaglio.meters.survey import facts_of

GPU = Domain("gpu:0", Scope.GPU_BOARD, Provenance.COUNTER, "replay", inside=frozenset({"wall"}))
RAIL = Domain("rail:CPU", Scope.CHIP, Provenance.SAMPLED, "rails")


class Watched(Replay):
    """A replay that counts how often it is closed."""

    closed = 0

    def close(self):
        self.closed += 1


def counter(*readings, covered=GPU, **further):
    return Watched(
        readings or [MeterReading(0.0, {"gpu:0": 1.0}, shared=frozenset({"gpu:0"}))], {covered.name: covered}, **further
    )


@pytest.fixture
def planted(monkeypatch):
    rails = counter(MeterReading(0.0, {"rail:CPU": 0.0}), covered=RAIL, name="rails", tick_s=0.1)
    found = [(counter(tick_s=0.5), Availability("ok")), (rails, Availability("ok"))]
    found.append((NoMeter("add a rule", "barred"), Availability("no-permission", "add a rule")))
    monkeypatch.setattr(survey, "every_meter", lambda device: iter(found))
    monkeypatch.setattr(survey, "tick_of", lambda meter: 0.0203)


def test_every_meter_is_a_row_with_its_remedy(planted, capsys):
    assert main(["energy", "doctor"]) == 0
    out, err = capsys.readouterr()
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert list(rows) == ["meter", "replay", "rails", "barred", "stated-watts", "csv-trace"]
    assert all(words in rows["replay"] for words in ("ok", "gpu:0 (shared)", "measured-counter", "20.3 ms"))
    assert "stated" not in rows["replay"]
    assert "100 ms, stated" in rows["rails"]
    assert "no-permission" in rows["barred"]
    assert rows["barred"].endswith("add a rule")
    assert "--trace" in rows["csv-trace"]
    assert "2 s" in err


def test_json_is_one_line_of_plain_values(planted, capsys):
    assert main(["energy", "doctor", "--json", "--no-ticks", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (1, "")
    told = json.loads(out)
    assert told["accelerator"] == "cuda:0"
    assert told["meters"][0] == {
        "name": "replay",
        "state": "ok",
        "why": None,
        "tick_s": 0.5,
        "tick_measured": False,
        "domains": {
            "gpu:0": {
                "scope": "gpu-board",
                "provenance": "measured-counter",
                "unit": "J",
                "inside": ["wall"],
                "shared": True,
            }
        },
    }


def test_a_counter_that_stands_still_or_fails_says_why_and_is_closed():
    def still(meter):
        raise MeterFailed("counter unusable: it did not change")

    meter = counter()
    facts = facts_of(meter, Availability("ok"), still)
    assert (facts.tick_s, facts.tick_measured, facts.state) == (None, False, "ok")
    assert "counter unusable" in facts.why
    assert meter.closed == 1
    broken = counter(MeterFailed("the driver is gone"))
    assert facts_of(broken, Availability("ok"), None).why == "the driver is gone"
    assert broken.closed == 1


def test_this_machine_is_surveyed_whatever_it_has(capsys):
    assert main(["energy", "doctor", "--no-ticks", "--json"]) == 0
    meters = {one["name"]: one for one in json.loads(capsys.readouterr().out)["meters"]}
    assert meters.keys() == {
        "nvml-counter",
        "nvml-power",
        "rapl",
        "jetson",
        "powermetrics",
        "process-time",
        "stated-watts",
        "csv-trace",
    }
    assert meters["process-time"]["domains"]["process"]["unit"] == "CPU-s"
    assert all(one["why"] for one in meters.values() if one["state"] != "ok")


def test_doctor_has_one_line_on_meters(monkeypatch):
    barred = NoMeter("add a rule", "rapl")
    monkeypatch.setattr(machine_meters, "_candidates", lambda device: [[barred]])
    assert dict(doctor.meters()) == {"energy meters": "none; rapl: add a rule"}
    monkeypatch.setattr(machine_meters, "_candidates", lambda device: [[counter(), barred]])
    assert dict(doctor.meters()) == {"energy meters": "replay"}
