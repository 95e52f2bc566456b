"""Jetson boards as planted folders, in both ways that Linux names their sensors."""

import os

import pytest

from intaglio.meters import jetson
from intaglio.meters.domain import Provenance, Scope
from intaglio.meters.jetson import JetsonRails
from intaglio.meters.meter import MeterFailed
from intaglio.meters.monitor import EnergyMonitor


def new_sensor(root, address, *rails, hwmon=3, driver="ina3221"):
    """Channels as Linux's driver names them: (label, mV, mA)."""
    folder = root / driver / address / "hwmon" / f"hwmon{hwmon}"
    folder.mkdir(parents=True, exist_ok=True)
    for channel, rail in enumerate(rails, 1):
        names = f"in{channel}_label", f"in{channel}_input", f"curr{channel}_input"
        for name, value in zip(names, rail, strict=True):
            (folder / name).write_text(f"{value}\n")
    return folder


def old_sensor(root, address, *rails, driver="ina3221x"):
    """Channels as NVIDIA's older driver names them: (label, mW)."""
    folder = root / driver / address / "iio:device0"
    folder.mkdir(parents=True, exist_ok=True)
    for channel, (label, milliwatts) in enumerate(rails):
        (folder / f"rail_name_{channel}").write_text(f"{label}\n")
        (folder / f"in_power{channel}_input").write_text(f"{milliwatts}\n")
    return folder


def unthreaded(root):
    meter = JetsonRails(root)
    meter._polled.threaded = False
    return meter


def test_millivolts_times_milliamperes_are_watts(tmp_path):
    new_sensor(tmp_path, "1-0040", ("VDD_GPU_SOC", 5000, 2400), ("VDD_CPU_CV", 4992, 1000))
    assert JetsonRails(tmp_path)._watts() == {
        "rail:VDD_GPU_SOC": pytest.approx(12.0),
        "rail:VDD_CPU_CV": pytest.approx(4.992),
    }


def test_the_older_names_give_milliwatts(tmp_path):
    old_sensor(tmp_path, "0-0041", ("VDD_SYS_GPU", 1500), ("VDD_SYS_SOC", 700), ("VDD_IN", 5200))
    old_sensor(tmp_path, "0-0042", ("VDD_MUX", 900))
    assert JetsonRails(tmp_path)._watts() == {
        "rail:VDD_SYS_GPU": 1.5,
        "rail:VDD_SYS_SOC": pytest.approx(0.7),
        "rail:VDD_IN": pytest.approx(5.2),
        "rail:VDD_MUX": pytest.approx(0.9),
    }


@pytest.mark.parametrize("name", ["VDD_IN", "POM_5V_IN"])
def test_the_input_of_the_module_contains_the_rails(tmp_path, name):
    new_sensor(tmp_path, "1-0040", (name, 5000, 2000), ("VDD_CPU_GPU_CV", 5000, 900), ("VDD_SOC", 5000, 300))
    meter = unthreaded(tmp_path)
    domains = meter.domains()
    assert domains[f"rail:{name}"].scope is Scope.SYSTEM
    assert not domains[f"rail:{name}"].inside
    for rail in ("rail:VDD_CPU_GPU_CV", "rail:VDD_SOC"):
        assert (domains[rail].scope, domains[rail].inside) == (Scope.CHIP, {f"rail:{name}"})
        assert domains[rail].provenance is Provenance.SAMPLED
    moment = [0.0]
    meter._polled.clock = lambda: moment[0]
    with EnergyMonitor([meter], least_ticks=0.0) as monitor, monitor.window("x") as window:
        moment[0] = 0.5
    assert window.spent.total() == pytest.approx(0.5 * 10.0)
    assert window.spent["rail:VDD_CPU_GPU_CV"] == pytest.approx(0.5 * 4.5)


def test_without_an_input_the_rails_are_added(tmp_path):
    new_sensor(tmp_path, "1-0040", ("VDD_GPU_SOC", 5000, 2000), ("VIN_SYS_5V0", 5000, 1000))
    domains = JetsonRails(tmp_path).domains()
    assert {domain.scope for domain in domains.values()} == {Scope.CHIP}
    assert not any(domain.inside for domain in domains.values())


def test_rails_of_one_word_or_of_one_name_all_survive(tmp_path):
    new_sensor(tmp_path, "1-0040", ("VDD_CPU", 5000, 100), ("VDD_CPU_CV", 5000, 200), ("CPU", 5000, 300))
    new_sensor(tmp_path, "1-0041", ("CPU", 5000, 400), ("CPU", 5000, 500), hwmon=4)
    watts = JetsonRails(tmp_path)._watts()
    assert watts == {
        "rail:VDD_CPU": pytest.approx(0.5),
        "rail:VDD_CPU_CV": pytest.approx(1.0),
        "rail:CPU@1-0040": pytest.approx(1.5),
        "rail:CPU@1-0041": pytest.approx(2.0),
        "rail:CPU@1-0041#2": pytest.approx(2.5),
    }
    assert set(JetsonRails(tmp_path).domains()) == set(watts)


def test_channels_that_are_off_unconnected_or_sums_are_left_out(tmp_path):
    folder = new_sensor(tmp_path, "1-0040", ("VDD_IN", 5000, 1000), ("NC", 0, 0), ("VDD_SOC", 0, 0))
    (folder / "in3_enable").write_text("0\n")
    (folder / "in7_label").write_text("sum of shunt voltages\n")
    assert set(JetsonRails(tmp_path).domains()) == {"rail:VDD_IN"}


def test_what_is_missing_is_said(tmp_path):
    assert JetsonRails(tmp_path).available().state == "unsupported"
    with pytest.raises(MeterFailed, match="no INA3221 sensor"):
        JetsonRails(tmp_path).read()
    folder = new_sensor(tmp_path, "1-0040", ("VDD_IN", 5000, 1000))
    assert JetsonRails(tmp_path).available()
    (folder / "curr1_input").write_text("")
    assert "curr1_input gave no number" in JetsonRails(tmp_path).available().why
    (folder / "curr1_input").unlink()
    with pytest.raises(MeterFailed, match="curr1_input gave no number"):
        JetsonRails(tmp_path).read()


def test_a_sensor_for_root_only_names_the_remedy(tmp_path, monkeypatch):
    new_sensor(tmp_path, "1-0040", ("VDD_IN", 5000, 1000))

    def closed(path):
        raise jetson._NotPermitted(f"{path} may be read by root only; {jetson.REMEDY}")

    monkeypatch.setattr(jetson, "_milli", closed)
    found = JetsonRails(tmp_path).available()
    assert found.state == "no-permission"
    assert "udev" in found.why


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_closed_file_is_a_matter_of_permission(tmp_path):
    folder = new_sensor(tmp_path, "1-0040", ("VDD_IN", 5000, 1000))
    (folder / "in1_input").chmod(0)
    assert JetsonRails(tmp_path).available().state == "no-permission"
