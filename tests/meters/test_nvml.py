"""NVIDIA boards against a planted NVML: which one it is, who shares it, the counter, and power where there is none."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from intaglio.meters import machine_meters
from intaglio.meters.domain import Provenance, Scope
from intaglio.meters.meter import MeterFailed, MeterReading
from intaglio.meters.monitor import EnergyMonitor
from intaglio.meters.nvml import accelerator_of, load_nvml
from intaglio.meters.nvml_counter import NVMLCounter
from intaglio.meters.nvml_power import NVMLPower
from intaglio.meters.process_tree import others_among
from intaglio.meters.replay import Replay
from intaglio.meters.spent import NoSum
from intaglio.meters.tick import tick_of
from planted_nvml import BOARD, BUS, UUID, PlantedNVML, plant_device

INSTANT, AVERAGE, GPU, MODULE = 186, 185, 0, 1
STRANGER = 1
"""Process 1 runs and does not descend from the tests."""


@pytest.fixture(autouse=True)
def torch_tells(monkeypatch):
    plant_device(monkeypatch)
    monkeypatch.setattr("intaglio.meters.monitor.synchronise", lambda device: None)


def counter(*millijoules, device="cuda:0", tick_s=None, **planted):
    return NVMLCounter(device, tick_s=tick_s, nvml=PlantedNVML(millijoules=list(millijoules), **planted))


def test_millijoules_become_joules():
    with EnergyMonitor([counter(1_000, 4_500)]) as monitor, monitor.window("x") as window:
        pass
    assert window.spent.amounts == {"gpu:0": pytest.approx(3.5)}
    assert window.spent.domains["gpu:0"].provenance is Provenance.COUNTER


def test_a_driver_loaded_anew_fails_the_window():
    with pytest.raises(MeterFailed, match="its counter was reset"), EnergyMonitor([counter(9_000, 10)]).window("x"):
        pass


@pytest.mark.parametrize("known", [f"GPU-{UUID}", UUID])
@pytest.mark.parametrize("told", [UUID, f"GPU-{UUID}"])
def test_a_board_is_found_by_uuid_whatever_its_prefix(monkeypatch, known, told):
    plant_device(monkeypatch, told, None)
    assert accelerator_of("cuda:1", PlantedNVML(uuids=(known,))).handle is BOARD


@pytest.mark.parametrize("told", [None, "another"])
def test_a_board_whose_uuid_is_not_known_is_found_by_its_pci_bus(monkeypatch, told):
    plant_device(monkeypatch, told)
    nvml = PlantedNVML()
    assert accelerator_of("cuda:0", nvml).handle is BOARD
    assert nvml.asked[-1] == BUS
    with pytest.raises(MeterFailed, match="no accelerator by cuda:0's UUID or PCI bus"):
        accelerator_of("cuda:0", PlantedNVML(buses=()))


def test_a_device_that_torch_does_not_know_is_named(monkeypatch):
    def no_such(device):
        raise AssertionError("Invalid device id")

    monkeypatch.setattr("torch.cuda.get_device_properties", no_such)
    assert "torch does not know cuda:7: Invalid device id" in counter(1, device="cuda:7").available().why


@pytest.mark.parametrize("uuid", [UUID, f"MIG-{UUID}"])
def test_a_mig_part_is_metered_by_its_board_and_shared(monkeypatch, uuid):
    plant_device(monkeypatch, uuid)
    meter = counter(0, 8_000, uuids=(), part_uuid=f"MIG-{UUID}")
    assert meter.domains()["gpu:0"].shared
    with EnergyMonitor([meter]) as monitor, monitor.window("x") as window:
        pass
    with pytest.raises(NoSum, match="gpu:0 was shared"):
        window.spent.total()
    assert window.spent.attributed({"gpu:0": 0.5}).total() == 4.0


def test_a_board_in_mig_mode_is_shared():
    assert counter(0, mig=True).domains()["gpu:0"].shared
    assert not counter(0).domains()["gpu:0"].shared


@pytest.mark.parametrize("pids", [(), None, (os.getpid(),)])
def test_own_work_and_none_listed_are_not_shared(pids):
    with EnergyMonitor([counter(0, 1_000, pids=pids)]) as monitor, monitor.window("x") as window:
        pass
    assert window.spent.total() == 1.0


def test_children_and_their_children_are_own_and_others_are_not():
    inner = "import os; print(os.getpid(), flush=True); input()"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        grandchild = int(process.stdout.readline())
        assert grandchild != process.pid
        assert not others_among([os.getpid(), process.pid, grandchild])
        assert others_among([os.getpid(), process.pid, STRANGER])
        process.communicate(b"\n")


def test_a_process_that_came_within_the_window_makes_it_shared_and_no_later_one():
    meter = counter(0, 1_000, 2_000, 3_000, pids=(os.getpid(),))
    with EnergyMonitor([meter]) as monitor:
        monitor.begin_window("x")
        meter.nvml.pids = (os.getpid(), STRANGER)
        assert monitor.end_window("x").domains["gpu:0"].shared
        meter.nvml.pids = (os.getpid(),)
        monitor.begin_window("x")
        assert monitor.end_window("x").total() == 1.0


def planted_proc(root, **parents):
    for pid, parent in parents.items():
        folder = root / pid.removeprefix("p")
        folder.mkdir()
        (folder / "stat").write_text(f"{folder.name} (a (b) c) S {parent} 0 0")
    return root


def test_numbers_of_another_namespace_stand_for_this_process_once(tmp_path):
    proc = planted_proc(tmp_path, p70=os.getpid(), p71=70, p72=1)
    assert not others_among([999_001], proc)
    assert others_among([999_001, 999_002], proc)
    assert others_among([os.getpid(), 999_001], proc)
    assert not others_among([70, 71], proc)
    assert others_among([71, 72], proc)
    assert not others_among([], proc)


def power(device="cuda:0", **planted):
    return NVMLPower(device, nvml=PlantedNVML(**planted))


@pytest.mark.parametrize(
    ("planted", "watts", "tick_s", "scope"),
    [
        ({"fields": {(INSTANT, GPU): 250_000, (AVERAGE, GPU): 200_000}, "plain": 1}, 250.0, 0.1, Scope.GPU_BOARD),
        ({"fields": {(AVERAGE, GPU): 200_000, (INSTANT, MODULE): 1}, "plain": 1}, 200.0, 1.0, Scope.GPU_BOARD),
        ({"fields": {(INSTANT, MODULE): 700_000}, "plain": 1}, 700.0, 0.1, Scope.GPU_MODULE),
        ({"fields": {(AVERAGE, MODULE): 650_000}}, 650.0, 1.0, Scope.GPU_MODULE),
        ({"plain": 90_500, "capability": (8, 0)}, 90.5, 0.1, Scope.GPU_BOARD),
        ({"plain": 90_500, "capability": (8, 6)}, 90.5, 1.0, Scope.GPU_BOARD),
    ],
)
def test_the_best_power_that_the_board_tells_is_taken(planted, watts, tick_s, scope):
    meter = power(**planted)
    ((name, domain),) = meter.domains().items()
    assert name == ("gpu-module:0" if scope is Scope.GPU_MODULE else "gpu:0")
    assert (domain.scope, domain.provenance, meter.tick_s) == (scope, Provenance.SAMPLED, tick_s)
    assert meter._watts() == {name: watts}


def test_a_steady_power_becomes_joules_in_time():
    meter = power(fields={(INSTANT, GPU): 300_000})
    meter._polled.clock = lambda: time.monotonic() / 1000  # no stall of the machine is a gap
    try:
        first, last = meter.read(), meter.read()
    finally:
        meter.close()
    assert last.amounts["gpu:0"] == pytest.approx(300.0 * (last.time_s - first.time_s), rel=1e-6)
    assert not last.shared


def test_power_that_ceases_is_an_error_and_never_nought():
    meter = power(plain=100_000)
    meter._polled.threaded = False
    meter.read()
    meter.nvml.plain = None
    with pytest.raises(MeterFailed, match="cuda:0 ceased to tell its power"):
        meter.read()
    meter.nvml.plain = 0
    with pytest.raises(MeterFailed, match="ceased to tell its power"):
        meter.read()


def test_a_board_without_any_power_says_so():
    assert power().available().state == "unsupported"
    assert "tells no power" in power().available().why


def plant_module(monkeypatch, nvml):
    nvml.nvmlInit = lambda: None
    monkeypatch.setitem(sys.modules, "pynvml", nvml)


def test_the_counter_is_preferred_and_power_stands_in_for_it(monkeypatch):
    plant_module(monkeypatch, PlantedNVML(millijoules=[5], plain=100_000))
    assert "nvml-counter" in [meter.name for meter in machine_meters.meters_for("cuda:0").meters]
    plant_module(monkeypatch, PlantedNVML(plain=100_000))
    looked = machine_meters.meters_for("cuda:0")
    assert "nvml-power" in [meter.name for meter in looked.meters]
    assert "nvml" not in looked.why_not
    plant_module(monkeypatch, PlantedNVML())
    assert "no energy counter" in machine_meters.meters_for("cuda:0").why_not


def test_a_missing_and_a_wrong_library_are_told_apart(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert NVMLCounter("cuda:0").available().state == "missing-library"
    assert "install intaglio[energy]" in NVMLPower("cuda:0").available().why
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace())
    with pytest.raises(MeterFailed, match="not that of nvidia-ml-py"):
        load_nvml()


def ticking(period, polled, seconds, grows=True):
    """A counter that changes every `period` s, read every `polled` s."""
    count = int(seconds / polled) + 2
    readings = [
        MeterReading(k * polled, {"gpu:0": int(k * polled / period + 1e-9) * 3.0 * grows, "still": 1.0})
        for k in range(count)
    ]
    return Replay(readings, {})


def clockwork(polled):
    moment = [0.0]
    return {"clock": lambda: moment[0], "sleep": lambda _: moment.__setitem__(0, moment[0] + polled)}


@pytest.mark.parametrize("period", [0.02, 0.1, 0.5])
def test_the_tick_of_a_counter_is_the_median_gap_of_its_changes(period):
    assert tick_of(ticking(period, 0.002, 2.0), **clockwork(0.002)) == pytest.approx(period, abs=0.0021)


def test_a_counter_that_stands_still_has_no_tick():
    with pytest.raises(MeterFailed, match="counter unusable: replay did not change twice in 2 s"):
        tick_of(ticking(0.1, 0.002, 2.0, grows=False), **clockwork(0.002))
